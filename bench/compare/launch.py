"""`launch.py PARENT CPUS PROGRAM ...`: becomes PROGRAM on these CPUs, which then ends when PARENT dies.

Run by path, importing nothing of this package. Raises the limit of open files to what is allowed.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, cpus, *argv = sys.argv[1:]
    os.sched_setaffinity(0, {int(each) for each in cpus.split(",")})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the setting was made
        sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606 - becoming the program is the purpose; no shell is wanted


if __name__ == "__main__":
    main()
