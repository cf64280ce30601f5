'use strict';

// Holds a name and does what its parent asks: { number, what, rest } is answered by { number, answer } or
// { number, error }, and what happens to the name is told as { event }. It ends with the channel, and closes nothing.

const { exchange, dialOn } = require('../peers.js');
const sockref = require(process.env.SOCKREF_PACKAGE);

let reference, dialling;

const status = () => ({
  active: reference.isActive, owner: reference.isOwner, holders: reference.holderCount, count: reference.referenceCount,
});

const answers = {
  async start(place, options) {
    reference = await sockref.startListener(place, options);
    for (const event of ['lost', 'owner', 'displaced', 'shutdown']) reference.on(event, () => process.send({ event }));
    return status();
  },
  status,
  close: () => reference.close(),
  serveEcho: () => void reference.serveEcho(),
  serve: () => void reference.serve({ data: (connection, data) => connection.write(data) }),
  dial: async (place, text) => (await exchange(place, text)).toString(),
  guard: () => sockref.guardStatus(),
  dialOn(place) {
    dialling = dialOn(place);
  },
  dialled: () => dialling,
};

process.on('message', async ({ number, what, rest }) => {
  try {
    process.send({ number, answer: await answers[what](...rest) });
  } catch ({ message, code, errno, path }) {
    process.send({ number, error: { message, code, errno, path } });
  }
});
