"""The proof of the migrated data in the report: what `cutover verify --report` wrote, and nothing else."""

import json
from pathlib import Path

import pytest

from proxy.cli.main import main
from proxy.migration.findings import Findings, Kind
from proxy.report.collect import told
from proxy.report.proof import Proof, UnreadableProof, read_proof

GOOD = {"compared": 2000, "missing": 0, "extra": 0, "different": 0, "seconds": 1.5, "differences": []}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_it_reads_the_counts(tmp_path: Path) -> None:
    proof = read_proof(write(tmp_path / "verify.json", {**GOOD, "missing": 2, "different": 1}))
    assert proof == Proof("verify.json", (tmp_path / "verify.json").stat().st_mtime, 2000, 2, 0, 1)
    assert proof.mismatches == 3


def test_it_reads_what_verify_itself_writes(tmp_path: Path) -> None:
    with Findings() as findings, (tmp_path / "verify.json").open("w", encoding="utf-8") as file:
        findings.compared = 7
        findings.counts[Kind.EXTRA] = 2
        findings.write_json(file, 1.5)
    proof = read_proof(tmp_path / "verify.json")
    assert (proof.compared, proof.missing, proof.extra, proof.different) == (7, 0, 2, 0)


@pytest.mark.parametrize(
    "content",
    ["", "no JSON", "[]", "5", {}, {**GOOD, "extra": None}, {**GOOD, "compared": -1}, {**GOOD, "missing": True},
     {**GOOD, "different": "0"}],
)  # fmt: skip
def test_what_is_no_result_is_refused_with_the_name_of_the_file(tmp_path: Path, content: object) -> None:
    with pytest.raises(UnreadableProof, match=r"verify\.json: not "):
        read_proof(write(tmp_path / "verify.json", content))
    with pytest.raises(UnreadableProof, match=r"none\.json: no such file"):
        read_proof(tmp_path / "none.json")


def test_it_is_told_in_one_line() -> None:
    assert told(Proof("a.json", 0.0, 2000, 0, 0, 0)).endswith(" UTC: 2,000 items compared, no mismatch")
    assert told(Proof("a.json", 0.0, 1, 1200, 0, 3)).endswith(": 1 item compared, 1,200 missing and 3 different")
    assert told(Proof("a.json", 0.0, 0, 0, 0, 0)).endswith(": 0 items compared, so nothing shown")


def run(journal: Path, out: Path, *proofs: Path) -> tuple[int, str]:
    code = main(["report", "--journal", str(journal), "-o", str(out), *(f"--verify={proof}" for proof in proofs)])
    file = out / "report.md"
    return code, file.read_text() if file.exists() else ""


def test_a_proof_without_a_mismatch_is_supplied_and_no_reservation(completed_journal: Path, tmp_path: Path) -> None:
    _, without = run(completed_journal, tmp_path / "without")
    code, text = run(completed_journal, tmp_path / "with", write(tmp_path / "verify.json", GOOD))
    assert code == 0
    assert "| Proof of the migrated data | not supplied |" in without
    assert "| Proof of the migrated data | ✓ supplied | verify.json of " in text
    assert "2,000 items compared, no mismatch" in text
    assert "mismatches in the migrated data" not in text


def test_mismatches_and_an_empty_comparison_are_reservations(completed_journal: Path, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.json", {**GOOD, "missing": 1, "extra": 2})
    empty = write(tmp_path / "empty.json", {**GOOD, "compared": 0})
    code, text = run(completed_journal, tmp_path / "out", bad, empty)
    assert code == 0
    assert "- ! 3 mismatches in the migrated data (bad.json)" in text
    assert "- ! Nothing was compared to prove the migrated data (empty.json)" in text


def test_a_file_that_is_no_proof_ends_it_in_one_line(
    completed_journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = run(completed_journal, tmp_path / "out", write(tmp_path / "other.json", {}))
    assert (code, text) == (1, "")
    said = capsys.readouterr().err.splitlines()
    assert said == [f"cutover report: {tmp_path}/other.json: not a result of cutover verify: “compared” is no count"]
