"""Replacing a file: whole or not at all, as it was but for its content, and with advice where it can't be done."""

import errno
import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.settings.atomic_file import FileChanged, NotWritable, locked_directory, refuse_unwritable, replace_file

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"old\n")
    path.chmod(0o640)
    return path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_mode_the_owner_and_the_attributes_are_kept(file: Path) -> None:
    if AS_ROOT:
        os.chown(file, 1234, 2345)
        file.chmod(0o4640)
    with suppress(OSError):  # a file system without them
        os.setxattr(file, "user.note", b"keep")
    before, attributes = file.stat(), {name: os.getxattr(file, name) for name in os.listxattr(file)}
    assert replace_file(file, b"new\n", b"old\n") == ()
    after = file.stat()
    assert file.read_bytes() == b"new\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert {name: os.getxattr(file, name) for name in os.listxattr(file)} == attributes
    assert after.st_ino != before.st_ino
    assert names(file.parent) == ["c.yaml"]


def test_an_attribute_that_can_not_be_kept_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(os, "listxattr", lambda _path: ["system.posix_acl_access", "security.selinux"])
    monkeypatch.setattr(os, "getxattr", lambda *_arguments: b"")
    monkeypatch.setattr(os, "setxattr", refuse)
    assert replace_file(file, b"new\n", b"old\n") == ("system.posix_acl_access",)


def test_of_hard_links_the_other_name_keeps_the_old_version(file: Path) -> None:
    other = file.with_name("other")
    other.hardlink_to(file)
    refuse_unwritable(file)
    replace_file(file, b"new\n", b"old\n")
    assert (file.read_bytes(), other.read_bytes()) == (b"new\n", b"old\n")


def test_a_file_that_somebody_else_has_changed_is_left_as_it_is(file: Path) -> None:
    with pytest.raises(FileChanged):
        replace_file(file, b"new\n", b"other\n")
    assert file.read_bytes() == b"old\n"
    file.unlink()
    with pytest.raises(FileChanged):
        replace_file(file, b"new\n", b"old\n")
    assert names(file.parent) == []


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EBUSY, "mount its directory instead"),
        (errno.EROFS, "change the ConfigMap"),
        (errno.EPERM, "operation not permitted"),
        (errno.ENOSPC, "no space left"),
    ],
)
def test_what_the_system_refuses_is_told_with_advice_and_leaves_nothing_behind(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(NotWritable) as caught:
        replace_file(file, b"new\n", b"old\n")
    assert advice in caught.value.detail
    assert str(file) in caught.value.detail
    assert (file.read_bytes(), names(file.parent)) == (b"old\n", ["c.yaml"])


def test_an_owner_that_can_not_be_kept_is_a_refusal(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    state = file.stat()
    other = os.stat_result((*state[:4], state.st_uid + 1, *state[5:]))
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr("pathlib.Path.stat", lambda _self: other)
    with pytest.raises(NotWritable, match="edit it as its owner"):
        replace_file(file, b"new\n", b"old\n")
    assert names(file.parent) == ["c.yaml"]


def test_a_symbolic_link_is_refused_with_its_target(file: Path, tmp_path: Path) -> None:
    refuse_unwritable(file)
    link = tmp_path / "link.yaml"
    link.symlink_to("c.yaml")
    with pytest.raises(NotWritable, match=r"symbolic link to c\.yaml: name the file itself"):
        refuse_unwritable(link)
    link.unlink()
    link.symlink_to("..data/c.yaml")
    with pytest.raises(NotWritable, match="change the ConfigMap"):
        refuse_unwritable(link)
    with pytest.raises(NotWritable, match="not a regular file"):
        refuse_unwritable(Path("/dev/null"))


def test_what_this_user_may_not_write_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def access(denied: Path) -> None:
        monkeypatch.setattr("proxy.settings.atomic_file._may", lambda path, _mode: path != denied)

    access(file)
    with pytest.raises(NotWritable, match="read-only for this user"):
        refuse_unwritable(file)
    access(file.parent)
    with pytest.raises(NotWritable, match=r"its directory .* is read-only"):
        refuse_unwritable(file)


@pytest.mark.skipif(not AS_ROOT, reason="needs to mount")
def test_a_file_mounted_by_itself_is_refused_with_advice(file: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted.yaml"
    mounted.write_bytes(b"")
    script = (
        "import sys; from pathlib import Path; from proxy.settings.atomic_file import *\n"
        "try: replace_file(Path(sys.argv[1]), b'new', b'old\\n')\n"
        "except NotWritable as error: print(error.detail)"
    )
    shell = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", shell, "sh", file, mounted, sys.executable, script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"may not mount: {done.stderr}")
    assert "mounted as a single file" in done.stdout, done.stderr
    assert file.read_bytes() == b"old\n"


def test_the_lock_is_exclusive_and_waited_for(tmp_path: Path) -> None:
    with locked_directory(tmp_path) as locked:
        assert locked
        with pytest.raises(NotWritable, match="another edit"), locked_directory(tmp_path, wait_s=0.03):
            pass
    with locked_directory(tmp_path, wait_s=0) as locked:
        assert locked
    with pytest.raises(NotWritable, match="no such file"), locked_directory(tmp_path / "none"):
        pass


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked_directory(tmp_path) as locked:
        assert not locked
