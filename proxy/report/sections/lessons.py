"""Section 6: what people have written down with `cutover rollout note`, sorted by how it begins.

A note that begins with `well:` went well, one with `improve:` could be better, one with `lesson:` is a lesson; all
others are told as they are.
"""

from typing import Final

from proxy.report.document import Block, Cell, Listing, Paragraph, Section, Subheading
from proxy.report.findings import Findings, Note
from proxy.report.wording import minute

_SORTS: Final = (
    ("What went well", ("went well:", "well:", "good:")),
    ("What could be better", ("could improve:", "improve:", "better:", "bad:")),
    ("Lessons", ("lesson learned:", "lesson:", "learned:")),
)
_OTHERS: Final = "Notes"
_MOST: Final = 200


def write_lessons(findings: Findings) -> Section:
    """Write it."""
    sorted_notes: dict[str, list[Cell]] = {title: [] for title in (*(title for title, _ in _SORTS), _OTHERS)}
    notes = [note for note in findings.notes if note.check is None]
    for note in notes[-_MOST:]:
        title, text = _sort(note)
        run = "" if note.run == findings.run.number else f", run {note.run}" if note.run else ", before the first run"
        sorted_notes[title].append(Cell(f"{text} ({minute(note.at)}{run})"))
    blocks: list[Block] = []
    for title, items in sorted_notes.items():
        if items:
            blocks += [Subheading(title), Listing(tuple(items))]
    if not blocks:
        blocks.append(
            Paragraph('Not supplied: nobody has entered a note. cutover rollout note "lesson: …" enters one.')
        )
    return Section("Lessons learned", tuple(blocks))


def _sort(note: Note) -> tuple[str, str]:
    folded = note.text.casefold()
    for title, beginnings in _SORTS:
        for beginning in beginnings:
            if folded.startswith(beginning):
                return title, note.text[len(beginning) :].strip()
    return _OTHERS, note.text
