package org.sockref;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Objects;

/** The two streams of a channel. Closing either closes the channel. */
final class ChannelStreams {
    private ChannelStreams() {
    }

    static final class Input extends InputStream {
        private final SockrefChannel channel;

        Input(SockrefChannel channel) {
            this.channel = channel;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] bytes, int offset, int length) throws IOException {
            Objects.checkFromIndexSize(offset, length, bytes.length);
            return length == 0 ? 0 : channel.read(bytes, offset, length);
        }

        @Override
        public int available() throws IOException {
            return channel.available();
        }

        @Override
        public void close() throws IOException {
            channel.close();
        }
    }

    static final class Output extends OutputStream {
        private final SockrefChannel channel;

        Output(SockrefChannel channel) {
            this.channel = channel;
        }

        @Override
        public void write(int one) throws IOException {
            write(new byte[] {(byte) one}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            Objects.checkFromIndexSize(offset, length, bytes.length);
            if (length > 0) {
                channel.write(bytes, offset, length);
            }
        }

        @Override
        public void close() throws IOException {
            channel.close();
        }
    }
}
