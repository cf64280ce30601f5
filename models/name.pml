/*
 * One name, shared by processes that may be killed at any moment: the lock file with its bytes, the
 * socket, the guards, hand-over, a forked child that keeps descriptors, and a program that knows
 * nothing of sockref. docs/model.md tells what is modelled, and how the flags are used.
 *
 * One step is one system call; what only looks at things that byte 0 protects belongs to the step
 * before it. Each step of a worker is written as S(...): it is taken, or the worker is killed.
 *
 * Sizes: N workers, R rounds each. What the last holder may do while others hold: LINGER, LOSS,
 * HANDOVER. Surroundings: GKILLS guards are killed, FOREIGN sockets of somebody else, FORK. A flag
 * NO_... or a name in the table of mutants takes one safeguard away.
 */
#ifndef N
#define N 2
#endif
#ifndef R
#define R 1
#endif
#ifndef GKILLS
#define GKILLS 0
#endif
#ifndef FOREIGN
#define FOREIGN 0
#endif
#define W (N + 1) /* the last one is the next start, after all the others */
#ifndef LOCKS
#define LOCKS (N + 2)
#endif
#ifndef SOCKS
#define SOCKS (N + 2)
#endif
#if !defined(LINGER) && !defined(LOSS) && !defined(HANDOVER)
#define LINGER
#define LOSS
#endif

#define BIT(x) (1 << (x))
#define NOT(x) (255 - BIT(x))
#define CHILD 6 /* in bound[]: who has the socket open */
#define STRANGER 7

/* The lock file: the inode behind its name, and for each inode its bytes, record and open count. */
#define NONE 0
#define BINDING 1
#define LIVE 2
#define I (LOCKS + 1)
byte lock_name;
byte byte0[I], byte1[I], slots[I], opens[I];
byte state[I], recorded[I], owner[I], heir[I];

/* The socket: the inode behind its name, and for each inode who has it bound. */
byte path;
byte bound[SOCKS + 1];
bool foreign[SOCKS + 1];

/* A worker: descriptors, the connection to its owner, a listener under way to it. */
byte lock[W], sock[W], peer[W], offer[W], offered[W], acked[W];
bool dying[W], dead[W];
/* Its guard: what it was told, and whether it is gone. */
bool watched[W], gone[W];
byte pin[W];

/* For the assertions. */
byte responsible; /* whose listener is at work: from bind to close, or to the end of a hand-over */
byte published;
bool is_published[W];
bool lost; /* a process and its guard are both gone, and nobody has looked since */
byte guard_kills;
bool calm; /* nobody is killed any more: who waits now waits for ever */

#ifdef LINGER_EDGE
bool told[W];
#define TELL(w) if :: peer[w] != 0 -> told[peer[w] - 1] = true :: else fi; peer[w] = 0
#else
#define TELL(w) peer[w] = 0
#endif
#ifdef FORK
bool inherited[W]; /* the child has the worker's lock file open: the same description, the same locks */
byte child_lock, child_sock;
bool starting[W];
#define INHERITED(w) inherited[w]
bool stuck; /* the child was forked while byte 0 was held, and has that as well */
#ifdef ONE_DESCRIPTION
#define UNLOCK(w) byte0[MY] = 0
#else
#define UNLOCK(w) byte0[MY] = 0; if :: w == 0 -> stuck = false :: else fi
#endif
#define STARTING(w, x) starting[w] = x
#else
#define INHERITED(w) false
#define STARTING(w, x) skip
#define UNLOCK(w) byte0[MY] = 0
#endif

byte i, t; /* scratch: 0 between steps */

/* --- files --- */

#define ALIVE(s) (bound[s] != 0)
#define PROVEN_DEAD(p) (dead[(p) - 1])
#if N == 2
#define PINNED(s) (pin[0] == s && !gone[0] || pin[1] == s && !gone[1])
#elif N == 3
#define PINNED(s) (pin[0] == s && !gone[0] || pin[1] == s && !gone[1] || pin[2] == s && !gone[2])
#elif N == 4
#define PINNED(s) (pin[0] == s && !gone[0] || pin[1] == s && !gone[1] || pin[2] == s && !gone[2] || pin[3] == s && !gone[3])
#endif

/* An inode that nobody can reach any more is as good as new. */
inline settle(l) {
    if
    :: opens[l] == 0 && lock_name != l ->
        byte0[l] = 0; byte1[l] = 0; slots[l] = 0; state[l] = 0; recorded[l] = 0; owner[l] = 0; heir[l] = 0
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
inline free_bytes(l, id, slot) {
    if :: byte0[l] == id -> byte0[l] = 0 :: else fi;
    if :: byte1[l] == id -> byte1[l] = 0 :: else fi;
    slots[l] = slots[l] & slot
}

inline close_lock(w) {
    d_step {
        t = lock[w];
        free_bytes(t, w + 1, NOT(w));
        opens[t]--;
        lock[w] = 0;
#ifdef FORK
        inherited[w] = false;
        if :: w == 0 -> stuck = false :: else fi;
#endif
        settle(t);
        t = 0
    }
}

/* A process died: its bytes stay where a child has the same description. */
inline die_lock(w) {
    d_step {
        t = lock[w];
        lock[w] = 0;
        if
#ifdef FORK
        :: INHERITED(w) -> if :: byte0[t] == w + 1 && !stuck -> byte0[t] = 0 :: else fi
#endif
        :: !INHERITED(w) ->
            free_bytes(t, w + 1, NOT(w));
            opens[t]--;
            settle(t)
        fi;
        t = 0
    }
}

/* Device and inode may come again once nobody has the inode; with its birth time it is another one. */
inline new_socket(who, is_foreign, out) {
    d_step {
        i = 1;
        do
        :: i <= SOCKS && (path == i || bound[i] != 0 || PINNED(i)) -> i++
        :: else -> break
        od;
        assert(i <= SOCKS);
        out = i;
        bound[i] = BIT(who);
        foreign[i] = is_foreign;
        path = i;
#ifndef NO_BIRTH_TIME
        t = 1;
        do
        :: t <= LOCKS -> if :: recorded[t] == i -> recorded[t] = 0 :: else fi; t++
        :: else -> break
        od;
#endif
        i = 0;
        t = 0
    }
}

inline close_socket(w) {
    bound[sock[w]] = bound[sock[w]] & NOT(w);
    sock[w] = 0
}

/* I2: the name of a live listener is removed by its owner alone, a foreign live one by nobody. */
inline remove(by) {
    d_step {
        assert(!(foreign[path] && ALIVE(path)));
        assert(responsible == 0 || responsible == by || dying[responsible - 1] || sock[responsible - 1] != path);
        path = 0
    }
}

inline unpublish(w) {
    d_step {
        if :: is_published[w] -> is_published[w] = false; published-- :: else fi
    }
}

inline publish(w) {
    d_step {
        is_published[w] = true;
        published++;
        assert(published == 1) /* I1 */
    }
}

/* Those who are connected to w learn that it has gone. */
inline hang_up(w) {
    d_step {
        i = 0;
        do
        :: i < W -> if :: peer[i] == w + 1 -> peer[i] = 0 :: else fi; i++
        :: else -> break
        od;
        i = 0
    }
}

/* --- what is found under byte 0 --- */

#ifdef NO_IDENTITY
#define IS_MINE(w) (path != 0)
#define IS_RECORDED(l) (path != 0)
#define IS_PINNED(w) (path != 0)
#else
#define IS_MINE(w) (path != 0 && path == sock[w])
#define IS_RECORDED(l) (path != 0 && state[l] == LIVE && recorded[l] == path)
#define IS_PINNED(w) (path != 0 && pin[w] == path)
#endif
#define IS_UNBOUND(l) (state[l] == BINDING && path != 0 && !ALIVE(path))
/* Bound, perhaps by the one who wrote this and has not quite gone. */
#ifdef NO_WAIT
#define IS_UNSURE(l) false
#else
#define IS_UNSURE(l) (state[l] == BINDING && path != 0 && ALIVE(path) && !PROVEN_DEAD(owner[l]))
#endif

#ifdef NO_PROOF
#define IS_JOINABLE(l) (state[l] == LIVE && path != 0 && recorded[l] == path && ALIVE(path))
#else
#define IS_JOINABLE(l) (state[l] == LIVE && path != 0 && recorded[l] == path && ALIVE(path) && !PROVEN_DEAD(owner[l]))
#endif
/* Byte 1 was found held, but by nobody who lives: a child of the owner has the description. */
#ifdef NO_RETIRE
#define IS_ZOMBIE(l) false
#elif defined(NO_HEIR)
#define IS_ZOMBIE(l) (state[l] == NONE || PROVEN_DEAD(owner[l]))
#else
#define IS_ZOMBIE(l) (state[l] == NONE || PROVEN_DEAD(owner[l]) && (heir[l] == 0 || PROVEN_DEAD(heir[l])))
#endif
#ifdef COUNT_SLOTS
#define MAY_UNLINK(l) (slots[l] == 0)
#else
#define MAY_UNLINK(l) true
#endif

/* --- a process --- */

#define S(...)                                    \
    if                                            \
    :: atomic { __VA_ARGS__ }                     \
    :: atomic { w < N && MORTAL -> goto killed }  \
    fi
#define MORTAL (!calm)

#define MY lock[w]
#define EOF(w) (peer[w] == 0 || GONE_BY_PIDFD(w))
#ifdef NO_PIDFD
#define GONE_BY_PIDFD(w) false
#else
#define GONE_BY_PIDFD(w) (peer[w] != 0 && PROVEN_DEAD(peer[w]))
#endif

proctype worker(byte w) {
    byte round = 0, j = 0, tried = 0;

again:
    if
    :: atomic { round < R && (w < N || round < 1) -> round++ }
    :: atomic { else -> goto finished }
    fi;

    /* --- start --- */
reopen:
    S(
#ifndef WATCH_LATE
        watched[w] = true;
#endif
        STARTING(w, true);
        open_lock(lock[w]));
locking:
#ifdef NO_RECHECK
    S(byte0[MY] == 0 -> byte0[MY] = w + 1);
#else
    if
    :: atomic { byte0[MY] == 0 ->
        if
        :: lock_name == MY -> byte0[MY] = w + 1
        :: else -> close_lock(w); goto reopen
        fi }
#if defined(FORK) && !defined(ONE_DESCRIPTION)
    :: atomic { byte0[MY] == 1 && dead[0] -> close_lock(w); STARTING(w, false); goto forget } /* ETIMEOUT */
#endif
    :: atomic { w < N && MORTAL -> goto killed }
    fi;
#endif
#ifdef NO_BYTE1
    S(goto recover);
#else
    S(if
      :: byte1[MY] == 0 -> byte1[MY] = w + 1; lost = false; goto recover
      :: else
      fi);
#endif

    /* Byte 1 is held: join. */
    S(if
      :: IS_ZOMBIE(MY) -> goto retire
      :: else ->
        if
#ifdef JOIN_LATE
        :: true -> UNLOCK(w); goto late
#endif
        :: IS_JOINABLE(MY) ->
            assert(!dead[owner[MY] - 1]); /* I4 */
            assert(dying[owner[MY] - 1] || (bound[path] & BIT(owner[MY] - 1)) != 0);
            slots[MY] = slots[MY] | BIT(w);
            if :: !dying[owner[MY] - 1] -> peer[w] = owner[MY] :: else fi
        :: else -> UNLOCK(w); goto not_yet
        fi
      fi);
    S(assert(lock_name == MY); UNLOCK(w); STARTING(w, false); goto joined);
#ifdef JOIN_LATE
late:
    S(if :: IS_JOINABLE(MY) :: else -> goto not_yet fi);
    S(assert(lock_name == MY);
        slots[MY] = slots[MY] | BIT(w);
        if :: !dying[owner[MY] - 1] -> peer[w] = owner[MY] :: else fi;
        STARTING(w, false); goto joined);
#endif

    /* The owner is dying, or its socket is hidden: until that changes, or the deadline. */
not_yet:
    if
    :: atomic { byte1[MY] == 0 || lock_name != MY || IS_JOINABLE(MY) || IS_ZOMBIE(MY) -> goto locking }
    :: atomic { byte0[MY] == 0 && lock_name == MY && byte1[MY] != 0 && FOREIGN > 0 ->
        close_lock(w); STARTING(w, false); goto forget } /* ETIMEOUT */
    :: atomic { w < N && MORTAL -> goto killed }
    fi;

    /* Retire the inode: the next look at its name leads everybody to a new one. */
retire:
    S(if :: IS_RECORDED(MY) || IS_UNBOUND(MY) -> remove(w + 1) :: else fi);
    S(unlink_lock(MY); lost = false);
    S(close_lock(w); goto reopen);

    /* Byte 1 is ours. */
recover:
#ifdef BYTE0_EARLY
    S(UNLOCK(w));
#endif
    S(if
      :: path == 0
      :: path != 0 && (IS_RECORDED(MY) || !ALIVE(path)) -> remove(w + 1)
      :: else ->
        if
        :: IS_UNSURE(MY) -> byte1[MY] = 0; UNLOCK(w); goto unsure
        :: else -> goto fail
        fi
      fi);
#ifndef NO_BINDING
    S(state[MY] = BINDING; owner[MY] = w + 1; recorded[MY] = 0; heir[MY] = 0);
#endif
    S(if
      :: path == 0 ->
        assert(responsible == 0 || dying[responsible - 1]); /* I1 */
        new_socket(w, false, sock[w]);
        responsible = w + 1
      :: else -> goto fail
      fi);
    S(
#ifdef WATCH_LATE
      watched[w] = true;
#endif
      pin[w] = sock[w]);
    S(state[MY] = LIVE; recorded[MY] = sock[w]; owner[MY] = w + 1; heir[MY] = 0);
    S(slots[MY] = slots[MY] | BIT(w);
      if :: byte0[MY] == w + 1 -> UNLOCK(w) :: else fi;
      publish(w); STARTING(w, false));
    goto owning;

    /* EFOREIGN, with bytes 0 and 1 */
fail:
    S(if :: state[MY] == BINDING && owner[MY] == w + 1 -> state[MY] = NONE; owner[MY] = 0 :: else fi);
    S(if :: MAY_UNLINK(MY) -> unlink_lock(MY) :: else fi);
    S(byte1[MY] = 0);
    S(close_lock(w); STARTING(w, false));
    goto forget;

unsure:
    S(!IS_UNSURE(MY) || byte1[MY] != 0 || lock_name != MY -> goto locking);

    /* --- a joiner --- */
joined:
    if
#ifdef STAY
    :: atomic { timeout -> assert(peer[w] != 0 && !dead[peer[w] - 1]) }
    :: atomic { EOF(w) -> skip }
#else
    :: atomic { true -> skip }
#endif
#ifdef HANDOVER
    :: atomic { offer[w] != 0 -> goto taking }
#endif
    :: atomic { w < N && MORTAL -> goto killed }
    fi;
    S(slots[MY] = slots[MY] & NOT(w);
      TELL(w);
      /* An offer that is still under way dies with the connection. */
      if :: offer[w] != 0 -> bound[offered[w]] = bound[offered[w]] & NOT(w); offer[w] = 0; offered[w] = 0 :: else fi);
tidy:
    S(byte0[MY] == 0 ->
        if
        :: lock_name == MY -> byte0[MY] = w + 1
        :: else -> close_lock(w); goto forget
        fi);
    S(if :: heir[MY] == w + 1 -> heir[MY] = 0 :: else fi;
      if
      :: byte1[MY] == 0 && MAY_UNLINK(MY) -> byte1[MY] = w + 1; lost = false; goto leftovers
      :: byte1[MY] == 0 && !MAY_UNLINK(MY) -> close_lock(w); goto forget
      :: else
      fi);
    S(if
      :: IS_ZOMBIE(MY) -> if :: IS_RECORDED(MY) || IS_UNBOUND(MY) -> remove(w + 1) :: else fi
      :: else -> close_lock(w); goto forget
      fi);
    S(unlink_lock(MY); lost = false);
    S(close_lock(w));
    goto forget;
leftovers:
#ifndef NO_JOINER_UNLINK
    S(if
      :: IS_RECORDED(MY) || IS_UNBOUND(MY) -> remove(w + 1)
      :: else -> if :: IS_UNSURE(MY) -> byte1[MY] = 0; UNLOCK(w); goto tidy_unsure :: else fi
      fi);
    S(unlink_lock(MY));
#endif
    S(byte1[MY] = 0);
    S(close_lock(w));
    goto forget;
tidy_unsure:
    S(!IS_UNSURE(MY) || byte1[MY] != 0 || lock_name != MY -> goto tidy);

#ifdef HANDOVER
    /* The owner offers its listener. */
taking:
    S(sock[w] = offered[w]; j = offer[w]; offer[w] = 0; offered[w] = 0;
      if
      :: byte1[MY] == 0 -> byte1[MY] = w + 1
      :: else -> j = 0; goto decline
      fi);
#ifndef HANDOVER_NO_CHECK
    S(if
      :: lock_name == MY && path == sock[w] && heir[MY] == w + 1
      :: else -> j = 0; goto give_back
      fi);
#endif
    S(pin[w] = sock[w]);
    S(state[MY] = LIVE; recorded[MY] = sock[w]; owner[MY] = w + 1; heir[MY] = 0;
      assert(lock_name == MY);
      assert(path == sock[w] || FOREIGN > 0);
      assert(responsible == j || responsible == 0 || dying[responsible - 1]);
      responsible = w + 1; publish(w));
    S(if :: peer[w] == j -> acked[j - 1] = w + 1 :: else fi;
      peer[w] = 0; j = 0; goto owning);
give_back:
    S(byte1[MY] = 0);
decline:
    S(close_socket(w); goto joined);
#endif

    /* --- the owner --- */
owning:
    S(byte0[MY] == 0 -> byte0[MY] = w + 1; slots[MY] = slots[MY] & NOT(w);
      assert(lock_name == MY);
      assert(path == sock[w] || FOREIGN > 0));
decide:
    if
    :: atomic { slots[MY] == 0 -> goto last }
#ifdef LINGER
    :: atomic { slots[MY] != 0 -> UNLOCK(w); goto linger }
#endif
#ifdef LOSS
    :: atomic { slots[MY] != 0 -> goto last }
#endif
#ifdef HANDOVER
    :: atomic { slots[MY] != 0 ->
        j = 0;
        do
        :: j < N && (peer[j] != w + 1 || (slots[MY] & BIT(j)) == 0 || offer[j] != 0 || (tried & BIT(j)) != 0) -> j++
        :: j < N - 1 && peer[j] == w + 1 -> j++
        :: else -> break
        od;
        if
        :: j < N && peer[j] == w + 1 && (slots[MY] & BIT(j)) != 0 && offer[j] == 0 && (tried & BIT(j)) == 0 ->
            tried = tried | BIT(j);
            heir[MY] = j + 1
        :: else -> j = 0; UNLOCK(w); goto linger
        fi };
        goto offering
#endif
    :: atomic { w < N && MORTAL -> goto killed }
    fi;

    /* Whoever goes tells it by its connection; since that may close before its slot, look again. */
linger:
    tried = 0;
#ifdef LINGER_EDGE
    S(told[w] -> told[w] = false);
#else
    S(slots[MY] == 0 -> skip);
#endif
    goto owning;

last:
#ifdef CLOSE_FIRST
    S(bound[sock[w]] = bound[sock[w]] & NOT(w); responsible = 0; unpublish(w));
    S(byte1[MY] = 0);
    S(if :: IS_MINE(w) -> remove(w + 1) :: else fi; sock[w] = 0);
    S(unlink_lock(MY));
#else
    S(unpublish(w); if :: IS_MINE(w) -> remove(w + 1) :: else fi);
    S(close_socket(w); responsible = 0);
    S(if :: MAY_UNLINK(MY) -> unlink_lock(MY) :: else fi);
    S(byte1[MY] = 0);
#endif
    S(close_lock(w); hang_up(w));
    goto forget;

#ifdef HANDOVER
offering:
    S(byte1[MY] = 0; unpublish(w));
    S(if
      :: peer[j] == w + 1 -> offer[j] = w + 1; offered[j] = sock[w]; bound[sock[w]] = bound[sock[w]] | BIT(j)
      :: else -> goto take_back
      fi);
#ifdef HANDOVER_EARLY
    S(UNLOCK(w));
#endif
    if
    :: atomic { acked[w] != 0 -> goto handed }
    :: atomic { true -> goto take_back } /* the deadline */
    :: atomic { w < N && MORTAL -> goto killed }
    fi;
take_back:
    S(if
      :: acked[w] != 0 -> goto handed
      :: acked[w] == 0 && byte1[MY] == 0 -> byte1[MY] = w + 1
      fi);
    S(state[MY] = LIVE; recorded[MY] = sock[w]; owner[MY] = w + 1; heir[MY] = 0; j = 0;
      responsible = w + 1; publish(w); goto decide);
handed:
    S(assert(path == sock[w] || FOREIGN > 0 || responsible != acked[w] || dying[acked[w] - 1]);
      acked[w] = 0; j = 0; tried = 0; watched[w] = false; pin[w] = 0);
    S(close_socket(w));
    S(close_lock(w); hang_up(w));
#endif

forget:
    S(watched[w] = false; pin[w] = 0);
    goto again;

    /* The kernel closes one descriptor after the other; then all can see that the process is dead. */
killed:
    atomic {
        dying[w] = true; unpublish(w); STARTING(w, false); acked[w] = 0; j = 0; tried = 0; round = 0;
        TELL(w);
        if :: !INHERITED(w) -> hang_up(w) :: else fi;
        if :: offer[w] != 0 -> bound[offered[w]] = bound[offered[w]] & NOT(w); offer[w] = 0; offered[w] = 0 :: else fi;
        if
#ifdef LINGER_EDGE
        :: lock[w] == 0 || sock[w] == 0 -> skip
#else
        :: lock[w] == 0 || sock[w] == 0 -> goto dead_now
#endif
        :: lock[w] != 0 && sock[w] != 0 -> die_lock(w)
        :: lock[w] != 0 && sock[w] != 0 -> close_socket(w)
        fi
    }
dead_now:
    atomic {
        if :: lock[w] != 0 -> die_lock(w) :: else fi;
        if :: sock[w] != 0 -> close_socket(w) :: else fi;
        if :: responsible == w + 1 -> responsible = 0 :: else fi;
        dead[w] = true;
        if :: watched[w] && gone[w] -> lost = true :: else fi;
        goto over
    }
finished:
    atomic { dying[w] = true; dead[w] = true; round = 0 }
over:
    skip
}

/* --- a guard --- */

#if GKILLS > 0
#define G(...)                                                          \
    if                                                                  \
    :: atomic { __VA_ARGS__ }                                           \
    :: atomic { !calm && guard_kills < GKILLS -> guard_kills++; goto killed } \
    fi
#else
#define G(...) atomic { __VA_ARGS__ }
#endif
#define ID (W + w + 1)

proctype guard(byte w) {
    byte g = 0;

    do
#if GKILLS > 0
    :: atomic { !dead[w] && watched[w] && !gone[w] && !calm && guard_kills < GKILLS -> guard_kills++; gone[w] = true }
    :: atomic { !dying[w] && gone[w] ->
        /* Replaced, and told all again; of a socket, if it is still open: the new guard pins it too. */
#ifndef PIN_CLOSED
        if :: pin[w] != sock[w] -> pin[w] = 0 :: else fi;
#endif
        gone[w] = false }
#endif
    :: atomic { dead[w] ->
        if
        :: watched[w] && !gone[w] -> break
        :: else -> goto end
        fi }
    od;
#ifdef NO_GUARD
    goto end;
#endif

reopen:
    G(if
      :: lock_name == 0 -> goto end
      :: else -> open_lock(g)
      fi);
locking:
    G(byte0[g] == 0 ->
        if
#ifdef NO_RECHECK
        :: true -> byte0[g] = ID
#else
        :: lock_name == g -> byte0[g] = ID
        :: else -> opens[g]--; settle(g); goto reopen
#endif
        fi);
#ifdef GUARD_NO_BYTE1
    G(goto mine);
#endif
#ifdef GUARD_TESTS
    G(if
      :: byte1[g] == 0 -> goto mine
      :: else
      fi);
#else
    G(if
      :: byte1[g] == 0 -> byte1[g] = ID; lost = false; goto mine
      :: else
      fi);
#endif
    G(if
#ifndef GUARD_NO_RETIRE
      :: IS_ZOMBIE(g) ->
        if :: IS_PINNED(w) || IS_RECORDED(g) || IS_UNBOUND(g) -> remove(0) :: else fi;
        goto unlink
#endif
      :: else -> goto release
      fi);
mine:
    G(if
      :: IS_PINNED(w) || IS_RECORDED(g) || IS_UNBOUND(g) -> remove(0)
      :: else ->
        if
        :: IS_UNSURE(g) ->
            free_bytes(g, ID, 255);
            goto unsure
        :: else
        fi
      fi);
#if !defined(COUNT_SLOTS) || defined(GUARD_NO_SLOTS)
#else
    G(if :: slots[g] == 0 :: else -> goto release fi);
#endif
unlink:
    G(unlink_lock(g));
release:
    G(if :: byte1[g] == ID -> byte1[g] = 0 :: else fi);
    G(free_bytes(g, ID, 255); opens[g]--; settle(g); goto end);
unsure:
    G(!IS_UNSURE(g) || byte1[g] != 0 || lock_name != g -> goto locking);

#if GKILLS > 0
killed:
    atomic {
        lost = true;
        if :: g != 0 -> free_bytes(g, ID, 255); opens[g]--; settle(g) :: else fi
    }
#endif
end:
    atomic { watched[w] = false; gone[w] = false; pin[w] = 0; g = 0 }
}

/* --- surroundings --- */

#if FOREIGN > 0
proctype stranger() {
    byte n = 0, s = 0;

    do
    :: atomic { n < FOREIGN -> n++ };
        if
        :: atomic { path == 0 -> new_socket(STRANGER, true, s) }
        :: atomic { path != 0 -> path = 0 }; /* displaces whoever is there */
            atomic {
                if
                :: path == 0 -> new_socket(STRANGER, true, s)
                :: else
                fi }
        :: atomic { true -> break }
        fi;
        atomic {
            if
            :: s != 0 -> bound[s] = 0; s = 0
            :: else
            fi }
    :: atomic { n == FOREIGN -> break }
    od
}
#endif

#ifdef FORK
/* A child of worker 0 without exec. One that the fork handler knows of only closes. */
proctype child() {
    if
    :: atomic { !dying[0] && lock[0] != 0 ->
#ifdef FORK_UNLOCKS
        t = lock[0]; free_bytes(t, 1, NOT(0)); t = 0; goto end
#else
        inherited[0] = true; child_lock = lock[0]; child_sock = sock[0];
#ifdef ONE_DESCRIPTION
        stuck = true;
#else
        stuck = byte0[child_lock] == 1;
#endif
        if :: child_sock != 0 -> bound[child_sock] = bound[child_sock] | BIT(CHILD) :: else fi
#endif
      }
    :: atomic { true -> goto end }
    fi;
    if
    :: atomic { child_sock != 0 -> bound[child_sock] = bound[child_sock] & NOT(CHILD); child_sock = 0 }
    :: atomic { true -> skip }
    fi;
    if
    :: atomic { true -> goto leave }
    :: atomic { true -> skip }
    fi;
    /* It stays until nothing else can go on: no start waits for it. */
    atomic {
        timeout;
        i = 0;
        do
        :: i < W -> assert(!starting[i]); i++
        :: else -> break
        od;
        i = 0
    };
leave:
    atomic {
        if
        :: inherited[0] && dying[0] ->
            free_bytes(child_lock, 1, NOT(0)); opens[child_lock]--; settle(child_lock);
            hang_up(0)
        :: else
        fi;
        inherited[0] = false; stuck = false;
        if :: child_sock != 0 -> bound[child_sock] = bound[child_sock] & NOT(CHILD) :: else fi;
        child_sock = 0; child_lock = 0
    }
end:
    skip
}
#endif

proctype weather() {
    atomic { calm = true }
}

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
#ifdef FORK
        run child();
#endif
        run weather();
        w = 0
    };
    _nr_pr == 1;
    if
    :: lost -> run worker(N); _nr_pr == 1
    :: else
    fi;
    /* I3 */
    assert(lock_name == 0);
    assert(path == 0 || foreign[path]);
    assert(published == 0)
}
