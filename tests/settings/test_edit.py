"""Changing the rollout in a file: checked, locked, and nothing lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.edit import NotWritable, RevisionMismatch, edit_rollout
from proxy.settings.errors import ConfigError
from proxy.settings.load import load_settings, revision_of

TEXT = """\
# the gallery
legacy: {url: 'http://a'}
target: {url: 'http://b'}
rollout:
  enabled: ${env:USE:-false}   # moved?
  percentage: ${env:SHARE:-5}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    return path


def test_the_result_says_what_was_and_what_is(file: Path) -> None:
    result = edit_rollout(file, {"SHARE": "7"}, percentage=25, enabled=True)
    assert file.read_text() == TEXT.replace("${env:USE:-false}", "true").replace("${env:SHARE:-5}", "25")
    assert (result.before.settings.rollout.percentage, result.after.settings.rollout.percentage) == (7, 25)
    assert (result.before.revision, result.after.revision) == (
        revision_of(TEXT.encode()),
        revision_of(file.read_bytes()),
    )
    assert result.replaced == {"enabled": "${env:USE:-false}", "percentage": "${env:SHARE:-5}"}
    assert (result.changed, result.warnings) == (True, ())
    again = edit_rollout(file, {}, percentage=25)
    assert (again.changed, again.replaced, again.written) == (False, {}, {"percentage": "25"})


def test_a_byte_order_mark_and_what_is_no_ascii_stay(file: Path) -> None:
    data = b"\xef\xbb\xbf" + TEXT.replace("gallery", "galería 😀").replace("\n", "\r\n").encode()
    file.write_bytes(data)
    edit_rollout(file, {}, percentage=0)
    assert file.read_bytes() == data.replace(b"${env:SHARE:-5}", b"0")


def test_a_change_made_on_another_revision_is_refused(file: Path) -> None:
    current = revision_of(file.read_bytes())
    with pytest.raises(RevisionMismatch) as caught:
        edit_rollout(file, {}, percentage=25, if_match="000000000000")
    assert caught.value.current == current
    assert file.read_text() == TEXT
    edit_rollout(file, {}, percentage=25, if_match=current)
    with pytest.raises(RevisionMismatch):
        edit_rollout(file, {}, percentage=50, if_match=current)


@pytest.mark.parametrize(
    ("text", "percentage"),
    [(f"{TEXT}rolout: 1\n", 5), (TEXT, 101), (TEXT.replace("${env:SHARE:-5}", "${env:SHARE}"), 5), ("", 5)],
)
def test_an_invalid_file_before_or_after_is_refused_and_kept(file: Path, text: str, percentage: int) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError):
        edit_rollout(file, {}, percentage=percentage)
    assert file.read_text() == text


def test_what_is_no_file_is_a_configuration_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path / "none" / "c.yaml", tmp_path):
        with pytest.raises(ConfigError):
            edit_rollout(path, {}, percentage=5)


def test_a_text_that_can_not_be_edited_and_a_link_are_refused(file: Path, tmp_path: Path) -> None:
    file.write_text(TEXT.replace("${env:SHARE:-5}", "|\n    ${env:SHARE:-5}"))
    with pytest.raises(NotWritable, match="write it as a plain value"):
        edit_rollout(file, {}, percentage=5)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    with pytest.raises(NotWritable, match="symbolic link"):
        edit_rollout(link, {}, percentage=5)


def test_what_follows_an_anchor_is_told(file: Path) -> None:
    operations = "operations:\n  - {name: get, match: 'GET /x', percentage: *p}\n"
    file.write_text(TEXT.replace("${env:SHARE:-5}", "&p 5") + operations)
    result = edit_rollout(file, {}, percentage=50)
    assert "anchor" in result.warnings[0]
    assert result.after.settings.operations[0].percentage == 50


def test_an_edit_that_would_change_more_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxy.settings import edit  # noqa: PLC0415 - to be patched
    from proxy.settings.rollout_text import EditedText  # noqa: PLC0415 - as above

    wrong = TEXT.replace("${env:SHARE:-5}", "25").replace("http://a", "http://c")
    monkeypatch.setattr(edit, "edit_text", lambda _text, _wanted: EditedText(wrong, {}, ()))
    with pytest.raises(NotWritable, match="by hand"):
        edit_rollout(file, {}, percentage=25)
    assert file.read_text() == TEXT


def test_a_writer_without_lock_is_noticed_and_the_edit_done_on_its_version(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxy.settings import edit  # noqa: PLC0415 - to be patched

    genuine, meddled = edit.edit_text, TEXT.replace("gallery", "archive")

    def meddle_once(text: str, wanted: dict[str, str]) -> object:
        if file.read_text() == TEXT:
            file.write_text(meddled)
        return genuine(text, wanted)

    monkeypatch.setattr(edit, "edit_text", meddle_once)
    edit_rollout(file, {}, percentage=25)
    assert file.read_text() == meddled.replace("${env:SHARE:-5}", "25")

    def meddle(text: str, wanted: dict[str, str]) -> object:
        file.write_text(f"{file.read_text()}#\n")
        return genuine(text, wanted)

    monkeypatch.setattr(edit, "edit_text", meddle)
    with pytest.raises(NotWritable, match="all the time"):
        edit_rollout(file, {}, percentage=50)
    assert sorted(path.name for path in file.parent.iterdir()) == ["c.yaml"]


WRITER = """\
import json, os, sys
from pathlib import Path
from proxy.settings.edit import edit_rollout
key, path = sys.argv[1], Path(sys.argv[2])
for number in range(1, 31):
    change = {"percentage": number} if key == "percentage" else {"enabled": number % 2 == 0}
    result = edit_rollout(path, {}, **change)
    print(json.dumps([result.before.revision, result.after.revision]))
"""


def test_two_processes_that_edit_at_once_lose_nothing(file: Path) -> None:
    command = [sys.executable, "-c", WRITER]
    writers = [
        subprocess.Popen([*command, key, str(file)], stdout=subprocess.PIPE, text=True)
        for key in ("percentage", "enabled")
    ]
    steps = [json.loads(line) for writer in writers for line in writer.communicate(timeout=60)[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0]
    rollout = load_settings(file, {}).settings.rollout
    assert (rollout.percentage, rollout.enabled) == (30, True)
    # Every edit was made on what the one before it had left: one chain, and no step is missing in it.
    assert len(steps) == 60
    left = sorted(before for before, after in steps if before != after)
    made = sorted(after for before, after in steps if before != after)
    assert sorted([*made, revision_of(TEXT.encode())]) == sorted([*left, revision_of(file.read_bytes())])


@given(percentage=st.integers(0, 100), enabled=st.booleans())
def test_what_is_written_is_what_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, percentage: int, enabled: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "property.yaml"
    file.write_text(TEXT)
    edit_rollout(file, {}, percentage=percentage, enabled=enabled)
    rollout = load_settings(file, {}).settings.rollout
    assert (rollout.percentage, rollout.enabled) == (percentage, enabled)
