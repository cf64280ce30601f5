/*
 * One name, shared by processes that may be killed at any moment: the lock file with its bytes and
 * record, the socket, the control socket, the guards, hand-over, a bare clone that keeps descriptors,
 * and a program that knows nothing of sockref. docs/model.md tells what each step stands for.
 *
 * One step is one system call that others can see, or that a kill before or after it makes a
 * difference to. Each step of a worker is written as S(...): it is taken, or the worker is killed.
 *
 * Sizes: N workers, R rounds each, KILLS of the first MORTALS are killed, and GKILLS guards. What the last reference
 * of an owner does while others hold: LINGER, LOSS, HANDOVER; one of them is chosen at each end. PATIENT: a hand-over
 * waits for every holder, however slow it is, and is to find one that lives.
 * Surroundings: FOREIGN sockets of somebody else, CLONE, a CLEANER that removes so many files of names in use, MEND: an
 * owner makes them again, once. ALONE: the last worker does not share. STAY: a joiner leaves only when it has to.
 * Each other name in the table of mutants takes one safeguard away.
 */
#ifndef N
#define N 2
#endif
#ifndef R
#define R 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef MORTALS
#define MORTALS N
#endif
#ifndef GKILLS
#define GKILLS 0
#endif
#ifndef FOREIGN
#define FOREIGN 0
#endif
#ifndef CLEANER
#define CLEANER 0
#endif
#define W (N + 1) /* the last one is the next start, or the sweep, after all the others */
#define LOCKS (N + 2)
#ifdef MEND
#define SOCKS (N + 4)
#else
#define SOCKS (N + 2)
#endif
#if !defined(LINGER) && !defined(LOSS) && !defined(HANDOVER)
#define LINGER
#define LOSS
#endif

#define BIT(x) (1 << (x))
#define NOT(x) (255 - BIT(x))
#define CHILD 6 /* in bound[] and listens[]: who has it open */
#define STRANGER 7

/* The lock file: the inode behind its name; for each inode its bytes, its record, its descriptors. */
#define NONE 0
#define BINDING 1
#define LIVE 2
#define I (LOCKS + 1)
byte lock_name;
byte byte0[I], byte1[I], byte3[I], slots[I], opens[I];
byte byte2[I]; /* the slot among them that was taken with bytes 0 and 1 */
byte state[I], recorded[I], owner[I];

/* The socket and the control socket: the inode behind the name of each; a pair has one number. */
byte path, ctl;
byte bound[SOCKS + 1], listens[SOCKS + 1];
bool foreign[SOCKS + 1];
byte fresh; /* its bind is under way: the file is there, and does not answer */

/* A worker: its descriptors, what it has joined, its connection, an offer on the way to it. */
byte lock[W], sock[W], joined[W], conn[W], offer[W], answer[W];
bool dying[W], dead[W];
#ifdef MEND
byte control[W]; /* the number of its control socket, which is another one once one of the two was made again */
#define CONTROL(w) control[w]
#define SET_CONTROL(w, x) control[w] = x
#else
#define CONTROL(w) sock[w]
#define SET_CONTROL(w, x) skip
#endif
/* Its guard: what it was told, and whether it is gone. */
bool watched[W], gone[W];
byte pin[W];

#define ACCEPTED(w) (SOCKS + 1 + (w)) /* in conn[]; less: it waits in the queue of that control socket */
#define TAKEN 1
#define DECLINED 2
#define ANY(what) (what(0) || what(1) || N > 2 && what(N - 1))
#define TOOK(k) ((tried & BIT(k)) != 0 && answer[k] == TAKEN)
#define HAS_TAKEN ANY(TOOK)
#define DECLINES(k) ((tried & BIT(k)) != 0 && answer[k] == DECLINED)
#define IS_CONNECTED(k) (conn[k] == ACCEPTED(w) || conn[k] != 0 && conn[k] == CONTROL(w))
#define MAY_ASK(k) (IS_CONNECTED(k) && (tried & BIT(k)) == 0)
#define IS_ONE(set) (((set) & ((set) - 1)) == 0)
/* Those who may yet answer; those who hold the same life of the name; and those of them who have yet to connect. */
#define IS_SILENT(k) ((tried & BIT(k)) != 0 && answer[k] == 0 && conn[k] == ACCEPTED(w))
#define IS_HEIR(k) \
    (k != w && (slots[lock[w]] & BIT(k)) != 0 && lock[k] == lock[w] && joined[k] == sock[w] && !dying[k])
#define IS_ABSENT(k) (IS_HEIR(k) && !IS_CONNECTED(k) && (tried & BIT(k)) == 0)
#if defined(MUTANT_ABSENT_UNHEARD)
#define IS_OVER !ANY(IS_SILENT)
#elif defined(PATIENT)
#define IS_OVER (!ANY(IS_SILENT) && !ANY(IS_ABSENT))
#else
#define IS_OVER true
#endif

/* For the checks. */
byte responsible; /* whose listener is at work: from bind to close, or to the end of a hand-over */
byte published;
bool is_published[W];
byte cleaned; /* files of a name in use that somebody has removed */
#ifdef ALONE
#define IS_ALONE(w) (w == N - 1)
bool without_lock; /* what its guard was told */
#endif
bool lost; /* a guard was killed, or had to give up: the next start or sweep may find something */
bool untold; /* something is left that no lock file tells of: the next start will find it, a sweep will not */
byte kills, guard_kills;
/* What a failed check is called. */
bool two_owners, foreign_removed, path_lost, left_over, stray_joiner, blocked, heir_missed;
#define CHECK(holds, name) name = !(holds); assert(!name)

#ifdef CLONE
bool inherited; /* the child has worker 0's lock file open: the same description, the same locks */
byte child_lock, child_sock;
#define INHERITED(w) (w == 0 && inherited)
#define STUCK(l) (byte0[l] == 1 && dead[0]) /* by the child alone */
#else
#define INHERITED(w) false
#define STUCK(l) false
#endif

byte i, t; /* scratch: 0 between steps */

/* --- files --- */

#define ALIVE(s) (bound[s] != 0)
#define PINNED(s) (pin[0] == s && !gone[0] || pin[1] == s && !gone[1] || N > 2 && pin[N - 1] == s && !gone[N - 1])
#define IS_PROVEN_DEAD(l) (state[l] != NONE && owner[l] != 0 && dead[owner[l] - 1])
#define IS_REACHABLE (ctl != 0 && listens[ctl] != 0)

/* An inode that nobody can reach any more is as good as new. */
inline settle(l) {
    if
    :: opens[l] == 0 && lock_name != l ->
        byte0[l] = 0; byte1[l] = 0; byte2[l] = 0; byte3[l] = 0; slots[l] = 0;
        state[l] = NONE; recorded[l] = 0; owner[l] = 0
    :: else
    fi
}

inline open_lock(out) {
    d_step {
        if
        :: lock_name == 0 ->
            i = 1;
            do
            :: i <= LOCKS && opens[i] != 0 -> i++
            :: else -> break
            od;
            assert(i <= LOCKS);
            lock_name = i;
            i = 0
        :: else
        fi;
        out = lock_name;
        opens[out]++
    }
}

inline unlink_lock(l) {
    d_step {
        if
        :: lock_name == l -> lock_name = 0; settle(l)
        :: else
        fi
    }
}

/* The kernel frees what this description has locked. */
inline free_bytes(l, id, mask) {
    if :: byte0[l] == id -> byte0[l] = 0 :: else fi;
    if :: byte1[l] == id -> byte1[l] = 0 :: else fi;
    if :: byte2[l] == id -> byte2[l] = 0 :: else fi;
    if :: byte3[l] == id -> byte3[l] = 0 :: else fi;
    slots[l] = slots[l] & mask
}

inline free_slot(w) {
    if :: byte2[lock[w]] == w + 1 -> byte2[lock[w]] = 0 :: else fi;
    slots[lock[w]] = slots[lock[w]] & NOT(w)
}

inline close_lock(w) {
    d_step {
        t = lock[w];
        free_bytes(t, w + 1, NOT(w));
        lock[w] = 0;
#ifdef CLONE
        if
        :: INHERITED(w) -> inherited = false /* unlocked, and open in the child alone */
        :: else -> opens[t]--; settle(t)
        fi;
#else
        opens[t]--;
        settle(t);
#endif
        t = 0
    }
}

/* A process died: its bytes stay where a child has the same description. */
inline die_lock(w) {
    d_step {
        t = lock[w];
        lock[w] = 0;
        if
        :: INHERITED(w) -> skip
        :: else -> free_bytes(t, w + 1, NOT(w)); opens[t]--; settle(t)
        fi;
        t = 0
    }
}

/* Device and inode may come again once nobody has the inode; with its birth time it is another one. */
inline new_number(out) {
    d_step {
        i = 1;
        do
        :: i <= SOCKS && (path == i || ctl == i || bound[i] != 0 || listens[i] != 0 || PINNED(i)) -> i++
        :: else -> break
        od;
        assert(i <= SOCKS);
        out = i;
        foreign[i] = false;
#ifndef MUTANT_NO_BIRTH_TIME
        t = 1;
        do
        :: t <= LOCKS -> if :: recorded[t] == i -> recorded[t] = 0 :: else fi; t++
        :: else -> break
        od;
#endif
        t = 0;
        do
        :: t < W -> if :: joined[t] == i -> joined[t] = 0 :: else fi; if :: conn[t] == i -> conn[t] = 0 :: else fi; t++
        :: else -> break
        od;
        i = 0;
        t = 0
    }
}

inline bind_socket(s, who) { bound[s] = BIT(who); path = s }

inline close_sockets(w) {
    if
    :: sock[w] != 0 ->
        close_control(w);
        close_socket(w);
        if :: !INHERITED(w) -> hang_up(w) :: else fi
    :: else
    fi
}
inline close_control(w) { listens[CONTROL(w)] = listens[CONTROL(w)] & NOT(w) }
inline close_socket(w) { bound[sock[w]] = bound[sock[w]] & NOT(w); sock[w] = 0; SET_CONTROL(w, 0) }

/* An offer that has not been read dies with the connection. */
inline hang_up_own(w) {
    d_step {
        conn[w] = 0;
        bound[offer[w]] = bound[offer[w]] & NOT(w);
        listens[offer[w]] = listens[offer[w]] & NOT(w);
        bound[0] = 0; listens[0] = 0;
        offer[w] = 0
    }
}

/* Those who are connected to w learn that it has gone. */
inline hang_up(w) {
    d_step {
        i = 0;
        do
        :: i < W -> if :: conn[i] == ACCEPTED(w) -> conn[i] = 0 :: else fi; i++
        :: else -> break
        od;
        i = 0
    }
}

inline accept_all(w) {
    d_step {
        i = 0;
        do
        :: i < W -> if :: conn[i] != 0 && conn[i] == CONTROL(w) -> conn[i] = ACCEPTED(w) :: else fi; i++
        :: else -> break
        od;
        i = 0
    }
}

/* I2: a foreign socket that lives is removed by nobody, the one of a live owner by that one alone. */
#define IS_IN_USE(s, by) \
    (responsible != 0 && responsible != by && !dying[responsible - 1] && \
     (sock[responsible - 1] == s || CONTROL(responsible - 1) == s) && \
     (CLEANER == 0 || lock[responsible - 1] == lock_name))
inline remove(by) {
    CHECK(!(foreign[path] && (ALIVE(path) || fresh == path)), foreign_removed);
    CHECK(!IS_IN_USE(path, by), path_lost);
    path = 0
}
inline remove_control(by) {
    CHECK(!IS_IN_USE(ctl, by), path_lost);
    ctl = 0
}

inline unpublish(w) {
    d_step { if :: is_published[w] -> is_published[w] = false; published-- :: else fi }
}

/* I1. Whose lock file somebody has removed is not found by others: he is told, and owns nothing that they do. */
inline publish(w) {
    d_step {
        if
        :: CLEANER > 0 && lock_name != lock[w]
        :: else ->
            is_published[w] = true;
            published++;
            CHECK(published == 1, two_owners);
            CHECK(lock_name == lock[w], two_owners);
            CHECK(FOREIGN > 0 || CLEANER > 0 || path == sock[w] && ctl == sock[w], path_lost)
        fi
    }
}

/* --- what is found under byte 0 --- */

#ifdef MUTANT_NO_IDENTITY
#define IS_PROVEN(l, pinned) (path != 0)
#define IS_MINE(w) (path != 0)
#else
#define IS_PROVEN(l, pinned) (path != 0 && (state[l] == LIVE && recorded[l] == path || pinned == path))
#define IS_MINE(w) (path != 0 && path == sock[w])
#endif
#ifdef MUTANT_NO_WAIT
#define MAY_BE_OURS(l, pinned) false
#else
#define MAY_BE_OURS(l, pinned) (IS_PROVEN(l, pinned) || state[l] == BINDING)
#endif
#ifdef MUTANT_NO_FRESH
#define IS_FRESH false
#else
#define IS_FRESH (fresh != 0 && fresh == path)
#endif
#ifdef MUTANT_FRESH_BINDING
#define IS_SURE(l, pinned) (IS_PROVEN(l, pinned) || state[l] == BINDING)
#else
#define IS_SURE(l, pinned) IS_PROVEN(l, pinned)
#endif

/* The verdicts of recovery. */
#define CLEAR 0
#define LATER 1
#define EFOREIGN 2

inline recover_socket(l, by, is_start, pinned, out) {
    d_step {
        if
        :: path == 0 -> out = CLEAR
        :: path != 0 && ALIVE(path) ->
            if
            :: IS_PROVEN(l, pinned) && IS_PROVEN_DEAD(l) -> remove(by); out = CLEAR
            :: !(IS_PROVEN(l, pinned) && IS_PROVEN_DEAD(l)) && MAY_BE_OURS(l, pinned) -> out = LATER
            :: else -> out = (is_start -> EFOREIGN : CLEAR)
            fi
        :: path != 0 && !ALIVE(path) ->
            if
            :: IS_SURE(l, pinned) -> remove(by); out = CLEAR
            :: !IS_SURE(l, pinned) && IS_FRESH && (is_start || state[l] == BINDING) -> out = LATER
            :: !IS_SURE(l, pinned) && !IS_FRESH && (is_start || state[l] == BINDING) -> remove(by); out = CLEAR
            :: else -> out = CLEAR
            fi
        fi
    }
}

/*
 * Whatever stands at the path, what stands at the control socket's name is sockref's; nobody but who
 * looks into the lock file knows of it.
 */
#if defined(MUTANT_EARLY_EFOREIGN)
#define IS_CONTROL_SEEN_TO(verdict) (ctl != 0 && verdict == CLEAR)
#elif defined(MUTANT_CONTROL_IGNORED)
#define IS_CONTROL_SEEN_TO(verdict) \
    (ctl != 0 && (verdict == CLEAR || verdict == EFOREIGN && (listens[ctl] == 0 || IS_PROVEN_DEAD(l))))
#elif defined(MUTANT_CONTROL_ALWAYS)
#define IS_CONTROL_SEEN_TO(verdict) (ctl != 0)
#else
#define IS_CONTROL_SEEN_TO(verdict) (ctl != 0 && verdict != LATER)
#endif
inline recover_control(l, by, out) {
    d_step {
        if
        :: IS_CONTROL_SEEN_TO(out) ->
            if
            :: listens[ctl] == 0 || IS_PROVEN_DEAD(l) -> remove_control(by)
            :: else -> out = LATER
            fi
        :: else
        fi
    }
}

inline write_record(l, what, who, which) { state[l] = what; owner[l] = who; recorded[l] = which }

/* Byte 1 is held: is that by somebody who can be joined? */
#ifdef MUTANT_NO_PROOF
#define IS_JOINABLE(l) (state[l] == LIVE && path != 0 && recorded[l] == path && ALIVE(path))
#else
#define IS_JOINABLE(l) (state[l] == LIVE && path != 0 && recorded[l] == path && ALIVE(path) && !IS_PROVEN_DEAD(l))
#endif
#ifdef MUTANT_NO_RETIRE
#define IS_ZOMBIE(l) false
#else
#define IS_ZOMBIE(l) IS_PROVEN_DEAD(l)
#endif
/* It cannot be joined, since a live owner's socket was displaced: EBUSY, in the end. */
#define IS_HIDDEN(l) \
    (FOREIGN + CLEANER > 0 && byte1[l] != 0 && state[l] == LIVE && !IS_PROVEN_DEAD(l) && \
     (path != recorded[l] || CLEANER > 0 && !IS_REACHABLE))

#ifdef MEND
inline drop_lock(w, l) {
    d_step { t = l; free_bytes(t, w + 1, NOT(w)); opens[t]--; settle(t); t = 0; l = 0 }
}

/* The life of the name is the same one: who has joined it learns the number of its socket now. */
inline follow(before, now) {
    d_step {
        i = 0;
        do
        :: i < W -> if :: joined[i] == before -> joined[i] = now :: else fi; i++
        :: else -> break
        od;
        i = 0
    }
}
#endif

/* --- a process --- */

#define S(...)                                    \
    if                                            \
    :: atomic { __VA_ARGS__ }                     \
    :: atomic { MORTAL(w) -> kills++; goto killed }        \
    fi
#define MORTAL(w) (w < MORTALS && kills < KILLS)
#define MY lock[w]
#ifdef MUTANT_NO_CURRENT
#define IS_CURRENT(w) true
#else
#define IS_CURRENT(w) (lock_name == MY)
#endif
/* Where another lock file stands the control socket may be another owner's: the kernel tells. */
#ifdef MUTANT_CONTROL_BY_NAME
#define HAS_CONTROL true
#else
#define HAS_CONTROL (lock_name == 0 || lock_name == MY || ctl == CONTROL(w))
#endif
#define HAS_ENDED(w) (conn[w] == 0 || conn[w] <= SOCKS && listens[conn[w]] == 0)
#ifdef CLONE
bool starting[W];
#define STARTING(w, x) starting[w] = x
#else
#define STARTING(w, x) skip
#endif
/* A try had to give up; until then the next one would have the same outcome. */
#define IS_SOCKET_UNSURE(l) \
    (path != 0 && (ALIVE(path) && MAY_BE_OURS(l, 0) && !(IS_PROVEN(l, 0) && IS_PROVEN_DEAD(l)) || \
                   !ALIVE(path) && !IS_PROVEN(l, 0) && IS_FRESH))
#define IS_CONTROL_UNSURE(l) (IS_REACHABLE && !IS_PROVEN_DEAD(l))
#define IS_UNSURE(l) (IS_SOCKET_UNSURE(l) || IS_CONTROL_UNSURE(l))
#define FORGET watched[w] = false; pin[w] = 0
#ifdef MUTANT_WATCH_LATE
#define WATCH skip
#else
#define WATCH watched[w] = true
#endif

#ifdef MUTANT_PIN_KEPT
#define UNPIN skip
#else
#define UNPIN pin[w] = 0
#endif

proctype worker(byte w) {
    byte round = 0, j = 0, tried = 0, verdict = CLEAR;
    bool again_asked = false;
#ifdef MEND
    byte fresh_lock = 0, old = 0;
    bool mended = false;
#endif

again:
    if
    :: atomic { round < R && (w < N || round < 1) -> round++ }
    :: atomic { else -> goto finished }
    fi;

    /* --- start --- */
start:
#ifdef ALONE
    if
    :: atomic { IS_ALONE(w) -> goto alone }
    :: atomic { !IS_ALONE(w) -> skip }
    fi;
#endif
    S(WATCH; STARTING(w, true); open_lock(lock[w]));
locking:
    if
#ifdef MUTANT_NO_RECHECK
    :: atomic { byte0[MY] == 0 -> byte0[MY] = w + 1 }
#else
    :: atomic { byte0[MY] == 0 && lock_name == MY -> byte0[MY] = w + 1 }
    :: atomic { byte0[MY] == 0 && lock_name != MY -> close_lock(w); goto start }
    /* Mostly both at once, and a slot with them, so they are held when the name is looked at. */
    :: atomic { byte0[MY] == 0 && byte1[MY] == 0 ->
        byte0[MY] = w + 1; byte1[MY] = w + 1; byte2[MY] = w + 1; slots[MY] = slots[MY] | BIT(w); goto recheck }
#endif
    :: atomic { byte0[MY] != 0 -> close_lock(w); FORGET; goto later }
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;
    S(if
#ifdef MUTANT_NO_BYTE1
      :: true
#endif
      :: byte1[MY] == 0 -> byte1[MY] = w + 1
      :: else -> goto join
      fi);
    goto both;
recheck:
    S(if :: lock_name != MY -> close_lock(w); goto start :: else fi);
both:

    /* Bytes 0 and 1 are ours, so nobody owns the name: recover, then own. */
    atomic { CHECK(published == 0 || CLEANER > 0 && lock_name != MY, two_owners) };
#ifdef MUTANT_BYTE0_EARLY
    S(byte0[MY] = 0);
#endif
    /* With a new lock file, and nothing at the path, the binds will see what else there is. */
    if
    :: atomic { state[MY] == NONE && path == 0 -> goto bind }
    :: atomic { true -> skip }
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;
recover:
    S(recover_socket(MY, w + 1, true, 0, verdict));
    S(recover_control(MY, w + 1, verdict));
    if
    :: atomic { verdict == CLEAR -> skip }
    :: atomic { verdict == LATER -> verdict = CLEAR; goto put_off }
    :: atomic { verdict == EFOREIGN -> verdict = CLEAR; goto clear }
    fi;
bind:
#ifdef MUTANT_NO_BINDING
    S(write_record(MY, NONE, 0, 0));
#else
    S(write_record(MY, BINDING, w + 1, 0));
#endif
    S(if
      :: ctl == 0 -> new_number(sock[w]); SET_CONTROL(w, sock[w]); ctl = sock[w]; listens[ctl] = BIT(w)
      :: else -> write_record(MY, NONE, 0, 0); goto recover /* a dead owner's, which is recovered now */
      fi);
    S(if
      :: path == 0 ->
        CHECK(responsible == 0 || dying[responsible - 1] || lock[responsible - 1] != MY, two_owners);
        bind_socket(sock[w], w);
        responsible = w + 1
      :: else -> goto undo
      fi);
    S(
#ifdef MUTANT_WATCH_LATE
      watched[w] = true;
#endif
      if :: path == sock[w] -> pin[w] = sock[w] :: else -> goto undo fi);
    S(slots[MY] = slots[MY] | BIT(w); write_record(MY, LIVE, w + 1, sock[w]);
      publish(w); STARTING(w, false);
      byte0[MY] = 0);
    goto owning;

    /* EFOREIGN, or EADDRINUSE: somebody was faster, or has replaced it. Nothing of a dead owner is left. */
undo:
    S(if :: responsible == w + 1 -> responsible = 0 :: else fi;
      remove_control(w + 1); close_control(w); close_socket(w));
clear:
    S(write_record(MY, NONE, 0, 0));
#ifndef MUTANT_COUNTS_EARLY
    S(free_slot(w));
#endif
    S(if :: (slots[MY] & NOT(w)) == 0 -> unlink_lock(MY) :: else fi);
    S(close_lock(w));
    S(FORGET; STARTING(w, false); goto again);

    /* LATER. What this try has made does not stay behind; what tells of a dead owner does. */
put_off:
#ifndef MUTANT_LATER_KEEPS
    S(free_slot(w));
    S(if :: slots[MY] == 0 && state[MY] == NONE -> unlink_lock(MY) :: else fi);
#endif
    S(close_lock(w));
    S(FORGET; goto unsure);

join:
    S(if
#ifdef MUTANT_JOIN_DYING
      :: true ->
#else
      :: IS_JOINABLE(MY) && IS_REACHABLE ->
#endif
#ifndef MUTANT_JOIN_DYING
        CHECK(!dead[owner[MY] - 1], stray_joiner); /* I4 */
#endif
        CHECK(lock_name == MY && path != 0 && path == recorded[MY] && ALIVE(path), stray_joiner);
        joined[w] = recorded[MY];
        conn[w] = (IS_REACHABLE -> ctl : 0);
        slots[MY] = slots[MY] | BIT(w)
      :: else ->
        if
        :: IS_ZOMBIE(MY) -> goto retire
        :: !IS_ZOMBIE(MY) && IS_HIDDEN(MY) -> close_lock(w); FORGET; goto displaced
        :: else -> close_lock(w); FORGET; goto dying_owner
        fi
      fi);
    S(byte0[MY] = 0; STARTING(w, false));
    goto waiting;

    /* Retire the lock file: the next look at its name leads everybody to a new one. */
retire:
#ifndef MUTANT_NO_TURN
    S(if
      :: byte3[MY] == 0 && IS_ZOMBIE(MY) -> byte3[MY] = w + 1
      :: else -> close_lock(w); FORGET; goto later
      fi);
#endif
    S(recover_socket(MY, w + 1, false, 0, verdict));
    S(recover_control(MY, w + 1, verdict));
    if
    :: atomic { verdict == CLEAR -> skip }
    :: atomic { else -> verdict = CLEAR; goto put_off }
    fi;
#ifdef MUTANT_RETIRE_CLEARS
    S(write_record(MY, NONE, 0, 0));
#endif
    S(unlink_lock(MY));
    S(close_lock(w); FORGET);

    /* To be tried again. Each of these waits until the next try could have another outcome. */
later:
    S(lock_name == 0 || byte0[lock_name] == 0 -> goto start);
dying_owner:
    S(lock_name == 0 || byte1[lock_name] == 0 || IS_JOINABLE(lock_name) && IS_REACHABLE ||
      IS_ZOMBIE(lock_name) || IS_HIDDEN(lock_name) -> goto later);
unsure:
    S(lock_name == 0 || byte1[lock_name] != 0 || !IS_UNSURE(lock_name) -> goto later);
displaced:
    S(STARTING(w, false); goto again); /* EBUSY */

    /* --- a joiner --- */
waiting:
    if
    :: atomic { offer[w] != 0 -> goto taking }
    :: atomic { offer[w] == 0 && HAS_ENDED(w) -> conn[w] = 0; goto find_out }
#ifdef STAY
    /* Nobody else moves any more: it must be connected to the one who has its socket. */
    :: atomic { timeout ->
        CHECK(responsible != 0 && sock[responsible - 1] == joined[w] && lock[responsible - 1] == MY, stray_joiner);
        goto let_go }
#else
    :: atomic { true -> goto let_go }
#endif
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;

find_out:
    S(if
      :: IS_REACHABLE -> conn[w] = ctl
      :: else -> goto look
      fi);
compare:
    if
    :: atomic { !IS_CURRENT(w) -> goto let_go } /* LOST */
    :: atomic { IS_CURRENT(w) && state[MY] == LIVE && recorded[MY] != joined[w] -> goto let_go } /* LOST */
    :: atomic { IS_CURRENT(w) && state[MY] == LIVE && recorded[MY] == joined[w] ->
        CHECK(responsible == 0 || lock[responsible - 1] == 0 || lock[responsible - 1] == MY, stray_joiner);
        goto waiting }
#ifdef MUTANT_FOLLOW_SLEEPS
    :: atomic { IS_CURRENT(w) && state[MY] != LIVE -> goto waiting }
#else
    :: atomic { offer[w] != 0 -> goto taking }
    :: atomic { HAS_ENDED(w) -> conn[w] = 0; goto find_out }
#endif
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;
look:
    if
    :: atomic { !IS_CURRENT(w) -> goto let_go } /* LOST */
    :: atomic { IS_CURRENT(w) && byte1[MY] == 0 && byte0[MY] == 0 -> goto let_go } /* LOST */
    :: atomic { IS_CURRENT(w) && IS_REACHABLE -> goto find_out }
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;

let_go:
    S(slots[MY] = slots[MY] & NOT(w); hang_up_own(w); joined[w] = 0);
    S(if
      :: byte1[MY] == 0 -> goto tidy
      :: byte1[MY] != 0 && byte2[MY] != 0 -> goto let_went /* it counts the holders later */
      :: else
      fi);
#ifdef MUTANT_TRUST_BYTE1
    S(goto let_went);
#else
    S(if :: IS_REACHABLE -> goto let_went :: else fi);
#endif
tidy:
    S(byte0[MY] == 0 ->
        if
        :: lock_name == MY -> byte0[MY] = w + 1
        :: else -> goto let_went
        fi);
    S(if
      :: byte1[MY] == 0 -> byte1[MY] = w + 1
      :: else -> goto let_went
      fi);
#ifndef MUTANT_NO_JOINER_RECOVERS
    S(recover_socket(MY, w + 1, false, 0, verdict));
    S(recover_control(MY, w + 1, verdict));
    if
    :: atomic { verdict == CLEAR -> skip }
    :: atomic { else -> verdict = CLEAR; goto let_went } /* the owner's guard will see to it */
    fi;
    S(if :: state[MY] != NONE -> write_record(MY, NONE, 0, 0) :: else fi);
    S(if :: slots[MY] == 0 -> unlink_lock(MY) :: else fi);
#endif
let_went:
    S(close_lock(w));
    S(FORGET; goto again);

    /* The owner offers its listener. */
taking:
    S(sock[w] = offer[w]; offer[w] = 0;
      if
#ifdef MUTANT_NO_TURN
      :: byte1[MY] == 0 -> byte1[MY] = w + 1
#else
      :: byte1[MY] == 0 && byte3[MY] == 0 -> byte1[MY] = w + 1; byte3[MY] = w + 1
#endif
      :: else -> goto decline
      fi);
    S(if :: path == joined[w] -> pin[w] = path :: else fi);
#ifndef MUTANT_TAKE_UNSEEN
    S(if :: lock_name == MY :: else -> goto decline fi);
    S(if :: path != 0 && path == joined[w] :: else -> goto decline fi);
#endif
    S(write_record(MY, LIVE, w + 1, sock[w]); responsible = w + 1; publish(w));
    S(byte3[MY] = 0; answer[w] = TAKEN; conn[w] = 0; joined[w] = 0; goto owning);
decline:
    S(if :: byte1[MY] == w + 1 -> byte1[MY] = 0; byte3[MY] = 0 :: else fi);
    S(UNPIN; close_control(w); close_socket(w); answer[w] = DECLINED; goto waiting);

    /* --- the owner --- */
owning:
#ifdef MEND
    if
    :: atomic { !mended && (lock_name == 0 || path == 0 || ctl == 0) -> mended = true; goto mend }
    :: atomic { true -> skip }
    fi;
#endif
    S(byte0[MY] == 0 -> byte0[MY] = w + 1);
    S(if
      :: (slots[MY] & NOT(w)) == 0 -> goto last /* its own slot goes with the rest */
      :: else -> free_slot(w)
      fi);
#ifdef LINGER
    goto looked;
look_again:
    S(byte0[MY] == 0 -> byte0[MY] = w + 1);
looked:
#endif
    if
    :: atomic { slots[MY] == 0 -> goto last }
#ifdef LOSS
    :: atomic { slots[MY] != 0 -> goto last }
#endif
#ifdef LINGER
    :: atomic { slots[MY] != 0 -> byte0[MY] = 0; goto linger }
#endif
#ifdef HANDOVER
    :: atomic { slots[MY] != 0 -> goto hand_over }
#endif
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;

#ifdef LINGER
    /* It looks again when a joiner connects, and from time to time. */
linger:
    S(slots[MY] == 0 -> goto look_again);
#endif

last:
#ifdef MUTANT_CLOSE_FIRST
    S(unpublish(w); remove_control(w + 1); close_control(w); hang_up(w);
      bound[sock[w]] = bound[sock[w]] & NOT(w); responsible = 0);
    S(if :: IS_MINE(w) -> remove(w + 1) :: else fi);
#else
    S(unpublish(w); if :: IS_MINE(w) -> remove(w + 1) :: else fi);
    S(if :: ctl != 0 && HAS_CONTROL -> remove_control(w + 1) :: else fi; close_control(w); hang_up(w);
      if :: responsible == w + 1 -> responsible = 0 :: else fi);
#endif
    S(if
      :: (slots[MY] & NOT(w)) != 0 -> write_record(MY, NONE, 0, 0)
      :: else -> unlink_lock(MY)
      fi);
    S(close_lock(w));
    S(FORGET; close_socket(w); goto again);

#ifdef HANDOVER
    /*
     * To one holder after the other, as they connect, until one takes it. Byte 0 is held. Who has declined while
     * another was asked, which then fails, is asked once more.
     */
hand_over:
    S(unpublish(w); byte1[MY] = 0);
asking:
    S(accept_all(w);
      j = 0;
      do
      :: j < N && !MAY_ASK(j) -> j++
      :: else -> break
      od;
      if
      :: j < N ->
        tried = tried | BIT(j); answer[j] = 0; offer[j] = sock[w];
        bound[sock[w]] = bound[sock[w]] | BIT(j); listens[sock[w]] = listens[sock[w]] | BIT(j)
      :: else
      fi;
      j = 0);
#ifdef MUTANT_HANDOVER_EARLY
    S(byte0[MY] = 0);
#endif
    if
    :: atomic { HAS_TAKEN -> goto handed }
    :: atomic { !HAS_TAKEN && ANY(MAY_ASK) -> goto asking } /* it is slow: the next one as well; or it has come */
    :: atomic { !HAS_TAKEN && !ANY(MAY_ASK) && IS_OVER -> skip } /* all declined, or have gone, or are too slow */
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;
take_back:
    S(if
      :: byte1[MY] == 0 ->
        byte1[MY] = w + 1; responsible = w + 1; publish(w);
        if
#ifndef MUTANT_ONE_ROUND
        :: !again_asked && !IS_ONE(tried) && ANY(DECLINES) -> again_asked = true; tried = 0; goto hand_over
#endif
        :: else ->
#ifdef PATIENT
            CHECK(!ANY(IS_HEIR), heir_missed);
#endif
            again_asked = false; tried = 0; goto last
        fi
#ifdef MUTANT_HANDOVER_BUSY
      :: else -> goto handed
#else
      :: byte1[MY] != 0 && owner[MY] != w + 1 -> goto handed
#endif
      fi);
handed:
    S(j = 0;
      do
      :: j < N -> if :: (tried & BIT(j)) != 0 -> answer[j] = 0 :: else fi; j++
      :: else -> break
      od;
      j = 0; tried = 0; again_asked = false;
      if :: responsible == w + 1 -> responsible = 0 :: else fi; close_lock(w));
    S(FORGET; close_control(w); hang_up(w));
    S(close_socket(w); goto again);
#endif

#ifdef MEND
    /* What stands in the place of a file is left alone. */
mend:
    if
    :: atomic { lock_name == 0 -> skip }
    :: atomic { lock_name != 0 -> goto mend_enter }
    fi;
    S(open_lock(fresh_lock));
    if
    :: atomic { byte0[fresh_lock] == 0 && lock_name == fresh_lock -> byte0[fresh_lock] = w + 1 }
    :: atomic { byte0[fresh_lock] == 0 && lock_name != fresh_lock -> drop_lock(w, fresh_lock); goto mend }
    :: atomic { byte0[fresh_lock] != 0 -> drop_lock(w, fresh_lock); goto owning }
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;
#ifndef MUTANT_RENEWED_UNOWNED
    S(if
      :: byte1[fresh_lock] == 0 -> byte1[fresh_lock] = w + 1
      :: else -> drop_lock(w, fresh_lock); goto owning
      fi);
#endif
    S(old = fresh_lock; drop_lock(w, lock[w]); lock[w] = old; fresh_lock = 0; old = 0; slots[MY] = slots[MY] | BIT(w));
    goto mend_socket;
mend_enter:
    S(byte0[MY] == 0 -> byte0[MY] = w + 1);
mend_socket:
    if
    :: atomic { path == 0 -> skip }
    :: atomic { path != 0 -> goto mend_control }
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;
#ifndef MUTANT_MENDED_UNRECORDED
    S(write_record(MY, BINDING, w + 1, 0));
#endif
    S(if
      :: path == 0 -> old = sock[w]; new_number(sock[w]); bind_socket(sock[w], w)
      :: else -> write_record(MY, LIVE, w + 1, sock[w]); goto mended_all
      fi);
    S(if :: path == sock[w] -> pin[w] = path :: else fi);
mend_control:
    S(if
      :: ctl == 0 -> close_control(w); new_number(control[w]); ctl = control[w]; listens[ctl] = BIT(w)
      :: else
      fi);
    S(if :: old != 0 -> follow(old, sock[w]) :: else fi;
      write_record(MY, LIVE, w + 1, sock[w]);
      if :: !is_published[w] -> publish(w) :: else fi);
mended_all:
    S(byte0[MY] = 0);
    S(if :: old != 0 -> bound[old] = bound[old] & NOT(w); old = 0 :: else fi; goto owning);
#endif

#ifdef ALONE
    /* Without sharing the bind is the exclusion; the lock file is only looked into where something is in the way. */
alone:
    S(WATCH; without_lock = true);
bind_alone:
    S(if
      :: path == 0 ->
        CHECK(FOREIGN > 0 || published == 0, two_owners);
        new_number(sock[w]); bind_socket(sock[w], w); responsible = w + 1
      :: path != 0 && MY == 0 -> goto occupied
      :: path != 0 && MY != 0 -> goto put_off /* somebody was faster, without the lock file */
      fi);
    S(if
#ifndef MUTANT_ALONE_UNPINNED
      :: path == sock[w] -> pin[w] = sock[w]
#endif
      :: else
      fi;
      tried = 1);
    if
    :: atomic { MY != 0 -> skip }
    :: atomic { MY == 0 -> goto serving_alone }
    fi;
    S(if :: slots[MY] == 0 && state[MY] == NONE -> unlink_lock(MY) :: else fi);
    S(close_lock(w));
serving_alone:
    S(if :: IS_MINE(w) -> remove(w + 1) :: else fi; if :: responsible == w + 1 -> responsible = 0 :: else fi);
    S(tried = 0; close_socket(w); FORGET; goto again);

occupied:
    S(without_lock = false; open_lock(lock[w]));
#ifndef MUTANT_ALONE_UNLOCKED
    if
    :: atomic { byte0[MY] == 0 && lock_name == MY -> byte0[MY] = w + 1 }
    :: atomic { byte0[MY] == 0 && lock_name != MY -> close_lock(w); goto occupied }
    :: atomic { byte0[MY] != 0 -> close_lock(w); FORGET; goto later }
    :: atomic { MORTAL(w) -> kills++; goto killed }
    fi;
    S(if
      :: byte1[MY] == 0 -> byte1[MY] = w + 1
      :: else -> close_lock(w); FORGET; goto again /* EBUSY */
      fi);
#endif
    S(recover_socket(MY, w + 1, true, 0, verdict));
    S(recover_control(MY, w + 1, verdict));
    if
    :: atomic { verdict == CLEAR -> skip }
    :: atomic { verdict == LATER -> verdict = CLEAR; goto put_off }
    :: atomic { verdict == EFOREIGN -> verdict = CLEAR; goto clear } /* EBUSY */
    fi;
    S(if :: state[MY] != NONE -> write_record(MY, NONE, 0, 0) :: else fi; goto bind_alone);
#endif

    /* The kernel closes one descriptor after the other; then all can see that the process is dead. */
killed:
    atomic {
#ifdef MEND
        if :: fresh_lock != 0 -> drop_lock(w, fresh_lock) :: else fi;
        if :: old != 0 -> bound[old] = bound[old] & NOT(w); old = 0 :: else fi;
        mended = false;
#endif
#ifdef ALONE
        if :: IS_ALONE(w) && sock[w] != 0 && tried == 0 -> untold = untold || path == sock[w] :: else fi;
#endif
        dying[w] = true; unpublish(w); STARTING(w, false); answer[w] = 0; joined[w] = 0; j = 0; tried = 0;
        again_asked = false; round = 0; verdict = CLEAR;
        hang_up_own(w);
        if
        :: lock[w] == 0 || sock[w] == 0 -> goto dead_now
        :: lock[w] != 0 && sock[w] != 0 -> die_lock(w)
        :: lock[w] != 0 && sock[w] != 0 -> close_sockets(w)
        fi
    };
dead_now:
    atomic {
        if :: lock[w] != 0 -> die_lock(w) :: else fi;
        close_sockets(w);
        if :: responsible == w + 1 -> responsible = 0 :: else fi;
        dead[w] = true;
        if :: watched[w] && gone[w] -> lost = true :: else fi;
        goto over
    };
finished:
#ifdef MEND
    atomic { mended = false };
#endif
    atomic { dying[w] = true; dead[w] = true; round = 0 };
over:
    skip
}

/* --- a guard --- */

#if GKILLS > 0
#define G(...)                                                \
    if                                                        \
    :: atomic { __VA_ARGS__ }                                 \
    :: atomic { w < N && guard_kills < GKILLS -> guard_kills++; goto killed }         \
    fi
#else
#define G(...) atomic { __VA_ARGS__ }
#endif
#define ID (W + w + 1)
#define NOBODY_IS_DYING (dying[0] == dead[0] && dying[1] == dead[1] && dying[N - 1] == dead[N - 1])

/* That of worker w; of the last one, the sweep. */
proctype guard(byte w) {
    byte g = 0, verdict = CLEAR;
    bool removed = false;
#ifdef ALARM
    bool early = false; /* it was replaced, and cleans while its parent lives */
    bool was_early = false;
#define IS_DONE (NOBODY_IS_DYING || early)
#else
#define IS_DONE NOBODY_IS_DYING
#endif

idle:
    do
#ifdef ALARM
    :: atomic { w < N && !was_early && !dying[w] && watched[w] -> was_early = true; early = true; break }
#endif
#if GKILLS > 0
    :: atomic { !dying[w] && watched[w] && !gone[w] && guard_kills < GKILLS -> guard_kills++; gone[w] = true }
    /* Replaced, and told all again: of a socket, if it still stands there. */
    :: atomic { !dying[w] && gone[w] ->
        if :: pin[w] != path -> pin[w] = 0 :: else fi;
        gone[w] = false }
#endif
    :: atomic { dying[w] && watched[w] && !gone[w] -> break }
    :: atomic { dead[w] && (!watched[w] || gone[w]) -> goto end }
    od;
#ifdef MUTANT_NO_GUARD
    goto end;
#endif

enter:
#ifdef ALONE
    if
    :: atomic { IS_ALONE(w) && without_lock -> goto pinned }
    :: atomic { !(IS_ALONE(w) && without_lock) -> skip }
    fi;
#endif
    G(if
      :: lock_name != 0 -> open_lock(g)
      :: lock_name == 0 && path != 0 && pin[w] == path -> open_lock(g)
      :: else ->
        if
        :: IS_DONE -> goto done
        :: else -> goto again
        fi
      fi);
    if
#ifdef MUTANT_NO_RECHECK
    :: atomic { byte0[g] == 0 -> byte0[g] = ID }
#else
    :: atomic { byte0[g] == 0 && lock_name == g -> byte0[g] = ID }
    :: atomic { byte0[g] == 0 && lock_name != g -> opens[g]--; settle(g); g = 0; goto enter }
#endif
    :: atomic { STUCK(g) -> lost = true; opens[g]--; g = 0; goto end }
#if GKILLS > 0
    :: atomic { w < N && guard_kills < GKILLS -> guard_kills++; goto killed }
#endif
    fi;
#ifdef MUTANT_GUARD_NO_BYTE1
    G(skip);
#else
    G(if
      :: byte1[g] == 0 -> byte1[g] = ID
      :: else ->
        CHECK(!(byte1[g] == 1 && dead[0] && byte3[g] == 0 && state[g] == NONE), blocked); /* nobody could retire it */
        t = byte3[g];
        free_bytes(g, ID, 255); opens[g]--; settle(g); g = 0;
        if
        :: IS_DONE && t == 0 -> goto done
        :: else -> t = 0; goto again
        fi
      fi);
#endif
    G(t = path; recover_socket(g, 0, false, pin[w], verdict); removed = (t != path); t = 0);
    G(t = ctl; recover_control(g, 0, verdict); removed = removed || t != ctl; t = 0);
    if
    :: atomic { verdict == CLEAR -> skip }
    :: atomic { else ->
        verdict = CLEAR; removed = false;
        free_bytes(g, ID, 255); opens[g]--; settle(g); g = 0;
        goto unsure }
    fi;
    G(if :: state[g] != NONE -> write_record(g, NONE, 0, 0) :: else fi);
    G(if :: slots[g] == 0 -> unlink_lock(g) :: else fi; removed = removed || IS_DONE);
    G(free_bytes(g, ID, 255); opens[g]--; settle(g); g = 0;
      if
      :: removed -> removed = false
      :: else -> goto again
      fi);
done:
#ifdef ALARM
    if
    :: atomic { early -> early = false; goto idle }
    :: atomic { !early -> goto end }
    fi;
#else
    goto end;
#endif

#ifdef ALONE
    /* Without a lock file the name belongs to whoever has the pinned inode bound. */
pinned:
    G(pin[w] == 0 || !ALIVE(pin[w]) -> if :: path != 0 && path == pin[w] -> remove(0) :: else fi; goto done);
#endif

    /* It tries again for half a second: a process that is dying has closed all by then. */
again:
    G(NOBODY_IS_DYING && (lock_name == 0 || byte3[lock_name] == 0) -> goto enter);
unsure:
    G(lock_name == 0 || byte1[lock_name] != 0 || !IS_UNSURE(lock_name) -> goto enter);

#if GKILLS > 0
killed:
    atomic {
        lost = true;
        if :: g != 0 -> free_bytes(g, ID, 255); opens[g]--; settle(g) :: else fi
    };
#endif
end:
    atomic { watched[w] = false; gone[w] = false; pin[w] = 0; g = 0 }
}

/* --- surroundings --- */

#if FOREIGN > 0
/* It binds where nothing stands, or in the place of what stands there; and ends, and leaves it. */
proctype stranger() {
    byte n = 0, s = 0;

    do
    :: atomic { n < FOREIGN -> n++ };
        if
        :: atomic { path != 0 && !foreign[path] -> path = 0 }
        :: atomic { true -> skip }
        fi;
        if
        :: atomic { path == 0 ->
            new_number(s); foreign[s] = true; bind_socket(s, STRANGER);
#ifdef SLOW_BIND
            bound[s] = 0; fresh = s
#endif
            }
#ifdef SLOW_BIND
            atomic { bound[s] = BIT(STRANGER); fresh = 0 }
#endif
        :: atomic { path != 0 -> skip }
        fi;
        atomic {
            if
            :: s != 0 -> bound[s] = bound[s] & NOT(STRANGER); s = 0
            :: else
            fi }
    :: atomic { n == FOREIGN -> break }
    :: atomic { n > 0 && n < FOREIGN -> n = FOREIGN }
    od
}
#endif

#if CLEANER > 0
/* Whoever has lost his lock file is not the owner that others know. */
inline displace(l) {
    i = 0;
    do
    :: i < W -> if :: lock[i] == l -> unpublish(i) :: else fi; i++
    :: else -> break
    od;
    i = 0
}

/* It removes what it finds, one file after the other; the lock file at a moment when nobody is at the name. */
proctype cleaner() {
    do
    :: atomic { cleaned < CLEANER && lock_name != 0 && byte0[lock_name] == 0 ->
        cleaned++; displace(lock_name); t = lock_name; lock_name = 0; settle(t); t = 0;
        untold = true /* who finds neither lock file nor socket does not look further */ }
    :: atomic { cleaned < CLEANER && path != 0 && !foreign[path] -> cleaned++; path = 0 }
    :: atomic { cleaned < CLEANER && ctl != 0 -> cleaned++; ctl = 0 }
    :: atomic { true -> break }
    od
}
#endif

#ifdef CLONE
/* A child of worker 0 without exec. One that the fork handler knows of closes, which is leaving. */
proctype child() {
    if
    :: atomic { !dying[0] && lock[0] != 0 ->
#ifdef MUTANT_CHILD_UNLOCKS
        t = lock[0]; free_bytes(t, 1, NOT(0)); t = 0; goto end
#else
        inherited = true; child_lock = lock[0]; child_sock = sock[0];
        if
        :: child_sock != 0 ->
            bound[child_sock] = bound[child_sock] | BIT(CHILD);
            if
            :: (listens[child_sock] & BIT(0)) != 0 -> listens[child_sock] = listens[child_sock] | BIT(CHILD)
            :: else
            fi
        :: else
        fi
#endif
      }
    :: atomic { true -> goto end }
    fi;
    if
    :: atomic { true -> goto leave }
    :: atomic { true -> skip }
    fi;
    /* It stays until nothing else can go on: no start may wait for it, but for byte 0. */
    atomic {
        timeout;
        t = 0;
        do
        :: t < W -> CHECK(!starting[t] || STUCK(child_lock), blocked); t++
        :: else -> break
        od;
        t = 0
    };
leave:
    atomic {
        if
        :: inherited && lock[0] != 0
        :: inherited && lock[0] == 0 -> /* the parent is dead, and what it had locked is freed only now */
            lost = true;
            free_bytes(child_lock, 1, NOT(0)); opens[child_lock]--; settle(child_lock);
            hang_up(0)
        :: else -> opens[child_lock]--; settle(child_lock)
        fi;
        inherited = false;
        bound[child_sock] = bound[child_sock] & NOT(CHILD);
        listens[child_sock] = listens[child_sock] & NOT(CHILD);
        child_sock = 0; child_lock = 0
    };
end:
    skip
}
#endif

init {
    byte w;
    atomic {
        for (w : 0 .. (N - 1)) {
            run worker(w);
            run guard(w)
        }
#if FOREIGN > 0
        run stranger();
#endif
#if CLEANER > 0
        run cleaner();
#endif
#ifdef CLONE
        run child();
#endif
        w = 0
    };
    _nr_pr == 1;
    if
    :: lost || untold -> run worker(N); _nr_pr == 1
    :: lost && !untold -> atomic { dead[N] = true; dying[N] = true; watched[N] = true; run guard(N) }; _nr_pr == 1
    :: !lost && !untold
    fi;
    /* I3 */
    CHECK(lock_name == 0, left_over);
    CHECK(path == 0 || foreign[path], left_over);
    CHECK(ctl == 0, left_over);
    assert(published == 0)
}
