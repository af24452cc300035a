"""`./xenolith bench`: which rows are picked, table and JSON, what is read off the tiny guest's console and kept."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import booting  # noqa: E402
import kept  # noqa: E402
import parts  # noqa: E402
import table  # noqa: E402
import tiny  # noqa: E402
from parts import Part  # noqa: E402
from rows import LARGE, SMALL  # noqa: E402
from table import Figure, Row, single  # noqa: E402

CALL = Row("call", "calls", "a call", 0.5)
SIZE = Row("size", "sizes", "size", unit="KiB", limit=100)
LINES = Row("lines", "lines", "lines", unit="lines", limit=40, quoted=400)
NONE = Row("none", "sizes", "neither goal nor limit")
PART = Part("paths", "made up", [CALL, SIZE, LINES, NONE], "minimum")
MEASURED = {"xenolith": {"call": Figure(40, 90, 2000), "size": single(120), "lines": single(39)},
            "stock": {"call": Figure(100, 150, 2000), "size": single(400)}}


def names(chosen):
    return {part.name: [row.name for row in rows] for part, rows in chosen}


class Selection(unittest.TestCase):
    def test_all_parts_without_options(self):
        self.assertEqual(list(names(parts.choose())), ["paths", "isolation", "debian"])

    def test_isolation_only_by_name_where_rows_or_boot_lines_are_given(self):
        both = {"paths": ["system_call"], "debian": ["system_call"]}
        self.assertEqual(names(parts.choose(pattern="^system_call$")), both)
        self.assertEqual(list(names(parts.choose(args="sched=credit"))), ["paths", "debian"])
        self.assertEqual(names(parts.choose(["isolation"], "^iret")), {"isolation": ["iret"]})

    def test_a_part_without_such_a_row_is_left_out(self):
        self.assertEqual(names(parts.choose(pattern="^fork_")), {"debian": ["fork_exit", "fork_exec"]})

    def test_what_matches_nothing_is_an_error_that_lists_the_rows(self):
        with self.assertRaisesRegex(LookupError, "(?s)no row of isolation.*null_hypercall"):
            parts.choose(["isolation"], "boot")
        with self.assertRaisesRegex(LookupError, "unterminated"):
            parts.choose(None, "(")

    def test_rows_are_not_named_twice_in_a_part(self):
        for part in parts.PARTS:
            self.assertEqual(len(part.rows), len({row.name for row in part.rows}))


class Table(unittest.TestCase):
    def setUp(self):
        self.lines = []
        self.results = {r["row"]: r for r in table.show(PART, PART.rows, MEASURED, self.lines.append)}

    def test_a_row_has_both_figures_of_both(self):
        self.assertEqual(self.results["call"], {
            "part": "paths", "row": "call", "unit": "instructions", "xenolith": 40, "stock": 100, "ratio": 0.4,
            "goal": 0.5, "limit": None, "met": True, "samples": 2000, "minimum": {"xenolith": 40, "stock": 100},
            "median": {"xenolith": 90, "stock": 150}})

    def test_a_part_may_compare_medians(self):
        result = table.compare(Part("debian", "", [CALL], "median"), CALL, MEASURED)
        self.assertEqual((result["xenolith"], result["stock"], result["ratio"], result["met"]), (90, 150, 0.6, False))

    def test_a_limit_is_on_our_own_figure(self):
        self.assertEqual((self.results["size"]["ratio"], self.results["size"]["met"]), (0.3, False))
        self.assertTrue(table.compare(PART, SIZE, {"xenolith": {"size": single(100)}})["met"])

    def test_a_quoted_figure_is_marked(self):
        lines = self.results["lines"]
        self.assertEqual((lines["stock"], lines["quoted"]), (400, ["stock"]))
        self.assertEqual((lines["met"], lines["samples"]), (True, 1))
        self.assertTrue(any("400*" in line for line in self.lines))
        self.assertIn("* quoted from BASELINE, not measured here", self.lines)

    def test_without_figures_nothing_is_met(self):
        found = [self.results["none"][key] for key in ("xenolith", "ratio", "met", "samples")]
        self.assertEqual(found, [None, None, None, 0])
        self.assertFalse(table.complete(list(self.results.values()), ["xenolith"]))
        self.assertTrue(table.complete([self.results["call"]], ["xenolith", "stock"]))

    def test_the_screen_says_goal_limit_and_verdict(self):
        call, size = (next(line for line in self.lines if line.startswith(row.text)) for row in (CALL, SIZE))
        self.assertRegex(call, r" 2,000 +40 +90 +100 +150 +0\.40 +0\.50  met$")
        self.assertRegex(size, r"\(KiB\) .* 0\.30 +<=100  missed$")

    def test_large_figures_are_shown_in_millions(self):
        self.assertEqual(table.shown(123_456_789), "123 M")

    def test_json_is_a_list_with_a_line_a_row(self):
        with tempfile.NamedTemporaryFile("r") as file:
            table.write_json(file.name, list(self.results.values()))
            text = file.read()
        self.assertEqual([result["row"] for result in json.loads(text)], list(self.results))
        self.assertEqual(len(text.splitlines()), len(self.results) + 2)


class Console(unittest.TestCase):
    def test_a_row_of_the_tiny_guest(self):
        lines = ["BENCH iret 137 140 2000", "BENCH old 1 2", "noise"]
        self.assertEqual(tiny.parse(lines), {"iret": Figure(137, 140, 2000)})

    def stamped(self, *stamps):
        return [f"(XEN) [{stamp:016x}] something" for stamp in stamps]

    def test_the_wait_ends_behind_a_second(self):
        second = booting.SECOND
        lines = self.stamped(second // 2, second + 50_000, second + 60_000)
        self.assertEqual(booting.waited(lines), second // 2 + 50_000)
        self.assertEqual(booting.waited(self.stamped(second // 2, second + second // 2)), 0)  # was at work
        self.assertEqual(booting.waited(["BOOT tsc 5"]), 0)

    def test_what_comes_before_the_wait_shows_in_a_page(self):
        """A machine whose further pages take seven instructions each, all before the wait."""
        second, work = booting.SECOND, 7 * booting.PAGES
        ends = [f"BOOT tsc {second + 70_000}"]
        stamped = {mib: self.stamped(before, second + 50_000) + ends
                   for mib, before in ((SMALL, 1000), (LARGE, 1000 + work))}
        plain = {SMALL: ends + ["BOOT guest_pages 130000"], LARGE: ends + ["BOOT guest_pages 1040000"]}
        figures = booting.figures(plain, stamped, {SMALL: 400, LARGE: 400})
        self.assertEqual(figures["boot_page"], single(7.0))
        self.assertEqual(figures["boot"], single(second + 70_000 - 400))

    def test_memory_is_a_line_through_two_machines(self):
        pages = {mib: mib * 256 - (1000 + mib * 256 // 128) for mib in (SMALL, LARGE)}
        self.assertEqual(booting.memory_kept(pages), {"memory_small": 8096, "memory_large": 36768,
                                                      "memory_per_page": 32.0, "memory_fixed": 4000})

    def test_a_boot_that_died_has_no_figures(self):
        self.assertEqual(booting.figures({SMALL: [], LARGE: []}, {SMALL: [], LARGE: []}, {SMALL: 1, LARGE: None}), {})


class Kept(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "kept.jsonl"
        self.addCleanup(kept.FILES.update, dict(kept.FILES))
        kept.FILES["paths"] = self.path
        self.now, self.lines, self.versions = 100, [], {}
        self.addCleanup(setattr, kept, "versions_of", kept.versions_of)
        kept.versions_of = lambda part: self.versions

    def run_it(self, keep=False):
        def measure(part, hypervisors, images, rows):
            return {"xenolith": ({"call": Figure(self.now, 0, 2000) if self.now else None}, ["a line of the console"])}

        self.lines.clear()
        return kept.check([(PART, [CALL, LINES])], "image", None, measure, keep, self.lines.append)

    def test_three_percent_worse_fails(self):
        self.assertEqual(self.run_it(keep=True), 0)
        self.now = 103
        self.assertEqual(self.run_it(), 0)
        self.assertEqual(self.lines[-1], "1 passed, 0 failed")
        self.now = 104
        self.assertEqual(self.run_it(), 1)
        self.assertIn("FAIL  bench paths call  104 instructions, kept 100: more than 3% worse", self.lines)
        self.assertEqual(self.lines[-1], "0 passed, 1 failed")

    def test_what_is_not_kept_or_not_counted_fails(self):
        self.assertEqual(self.run_it(), 1)
        self.now = None
        self.assertEqual(self.run_it(keep=True), 1)
        self.assertFalse(self.path.exists())
        self.assertIn("xenolith| a line of the console", self.lines)

    def test_other_versions_are_skipped_with_the_reason(self):
        self.versions = {"linux-image": "6.1.1"}
        self.run_it(keep=True)
        self.versions = {"linux-image": "6.1.2"}
        self.assertEqual(self.run_it(), 0)
        reason = "SKIP  bench paths, 1 rows: kept with linux-image 6.1.1, here 6.1.2; take them anew"
        self.assertIn(reason, self.lines[0])
        self.assertEqual(self.lines[-1], "0 passed, 0 failed, 1 skipped")

    def test_keeping_leaves_the_other_rows(self):
        self.path.write_text('{"part": "paths", "row": "other", "figure": 5}\n')
        self.run_it(keep=True)
        self.assertEqual(kept.File(self.path).figures, {("paths", "other"): 5, ("paths", "call"): 100})
        self.versions = {"linux-image": "6.1.1"}  # but not those of other versions
        self.run_it(keep=True)
        self.assertEqual(kept.File(self.path).figures, {("paths", "call"): 100})


class Tree(unittest.TestCase):
    def test_every_row_is_kept(self):
        for part in parts.PARTS:
            figures = kept.File(kept.FILES[part.name]).figures
            wanted = {row.name for row in part.rows if row.test not in kept.NOT_KEPT}
            self.assertEqual({row for name, row in figures if name == part.name}, wanted)


if __name__ == "__main__":
    unittest.main()
