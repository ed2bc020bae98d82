"""Programs as students write them, and their mistakes."""

import json
import shutil

import numpy as np
import pytest
import student
from strangers import KINDS, line_of, write


def launch_words(program, path, folder):
    """The words after `check` or `run`, with the arrays in files of `folder`; and what the arrays must become."""
    words, expected = program.make(np.random.default_rng(0))
    written = []
    for word in words:
        if not isinstance(word, str):
            np.save(folder / f"{word[0]}.npy", word[1])
            word = folder / f"{word[0]}.npy"
        written.append(word)
    launch = [path, "--kernel", program.kernel, "--grid", program.grid, "--block", program.block]
    return [*launch, "--smem", program.smem, "--args", *written], expected


@pytest.mark.parametrize("mode", ["run", "check"])
@pytest.mark.parametrize("program", student.PROGRAMS, ids=lambda program: program.file)
def test_student(program, mode, run, tmp_path):
    words, expected = launch_words(program, student.FOLDER / program.file, tmp_path)
    code, out, err = run(mode, *words, "--save", tmp_path / "after", "--json")
    report = json.loads(out)
    assert (code, err, report["findings"]) == (0, "", [])
    for name, array in expected.items():
        after = np.load(tmp_path / "after" / f"{name}.npy")
        np.testing.assert_allclose(after, array, rtol=1e-5 if after.dtype == np.float32 else 1e-14, atol=1e-5)
    assert bool(report["lines"]) == bool(report["kernels"]) == (mode == "check")
    for line in report["lines"]:
        assert line["access"] in ("load", "store") and line["space"] in ("global", "shared") and line["requests"] > 0
        assert (line["sectors_per_request"] is None) == (line["space"] == "shared") == (line["bank_ways"] is not None)


@pytest.mark.parametrize("mistake", student.MISTAKES, ids=lambda mistake: f"{mistake.file}-{mistake.kind}")
def test_students_mistake_is_found_on_its_line(mistake, run, tmp_path):
    shutil.copytree(student.FOLDER, tmp_path / "student")
    path = tmp_path / "student" / mistake.file
    text = path.read_text()
    assert text.count(mistake.old) == 1
    path.write_text(text.replace(mistake.old, mistake.new))
    program = next(program for program in student.PROGRAMS if program.file == mistake.file)
    words, _ = launch_words(program, path, tmp_path)
    code, out, _ = run("check", *words, "--json")
    findings = json.loads(out)["findings"]
    assert code == 1 and {finding["kind"] for finding in findings} <= KINDS
    wanted = (str(path), line_of(path, mistake.at))
    places = [
        (site["file"], site["line"])
        for finding in findings
        if finding["kind"] == mistake.kind
        for site in (finding, finding["other"] or finding)
    ]
    assert wanted in places


def test_transposes_count_bank_conflicts(run, tmp_path):
    program = next(program for program in student.PROGRAMS if program.file == "transpose.cu")
    ways = {}
    for pad in (" + 1", ""):
        path = write(tmp_path, (student.FOLDER / program.file).read_text().replace("TILE_DIM + 1", f"TILE_DIM{pad}"))
        words, _ = launch_words(program, path, tmp_path)
        code, out, _ = run("check", *words, "--json")
        (load,) = (line for line in json.loads(out)["lines"] if (line["access"], line["space"]) == ("load", "shared"))
        ways[pad] = load["bank_ways"]
    assert ways[" + 1"] == 1 and ways[""] > 10
