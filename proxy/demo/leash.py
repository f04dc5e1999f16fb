"""`leash.py PARENT SIGNAL ACCOUNT PROGRAM ...`: becomes PROGRAM, which then gets SIGNAL when PARENT dies.

A program of its own, run by path and importing nothing of this package: a hook between fork and exec would do the
same, but is not safe in a process with threads. ACCOUNT is `uid:gid` or `-`. Neighbour: `processes` starts it.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_CANNOT_RUN = 127


def main() -> None:
    """Change the account, tie this process to its parent, and become the program."""
    parent, number, account, *argv = sys.argv[1:]
    if account != "-":
        uid, gid = map(int, account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":  # after setuid, which clears the setting; elsewhere the demo's own cleanup has to do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the setting was made
        sys.exit(_CANNOT_RUN)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - becoming the program is the purpose; no shell is wanted
    except OSError as exc:
        sys.exit(f"{argv[0]}: {exc.strerror}")


if __name__ == "__main__":
    main()
