"""How many feeds and connections one process serves."""

import resource

MAX_READERS = 20_000  # open feeds; at about 20 kB each that is 400 MB
MIN_SHARE = 20  # feeds that one user may have open however few there are in all
SHARE = 0.1  # of all feeds: what one user may have open, so that one cannot take every other's
OTHERS = 200  # file descriptors for everything else: the database, mail, Airflow, pages
OTHER_CONNECTIONS = 100  # of these, for requests that are no feeds


def raise_limit() -> None:
    """Let this process open as many files as its administrator allows; many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_READERS + OTHERS if hard == resource.RLIM_INFINITY else min(hard, MAX_READERS + OTHERS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def room() -> int:
    """Feeds that can be open at once: each holds a file descriptor."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_READERS if soft == resource.RLIM_INFINITY else min(MAX_READERS, max(soft - OTHERS, soft // 2))


def connection_room() -> int:
    """Return how many connections can be open at once: every feed's, and half of the other descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = OTHERS if soft == resource.RLIM_INFINITY else soft - room()
    return room() + min(OTHER_CONNECTIONS, spare // 2)


def share_of(room: int) -> int:
    """Feeds that one user may have open, of so many in all."""
    return min(room, max(MIN_SHARE, int(room * SHARE)))
