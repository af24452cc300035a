"""bench/picture.py: the table drawn."""

import sys
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import picture  # noqa: E402

ROWS = [("a < b", 0.25, 0.45), ("without a goal", 0.5, None), ("missed", 0.5, 0.45), ("worse", 7.0, 0.9), ("not measured", None, 0.45)]


class Picture(unittest.TestCase):
    def setUp(self):
        self.root = xml.fromstring(picture.draw(ROWS))
        self.bars = [e for e in self.root.iter() if e.get("class") in ("good", "missed", "worse")]

    def test_bars_say_how_good_each_row_is(self):
        self.assertEqual([b.get("class") for b in self.bars], ["good", "good", "missed", "worse"])

    def test_bars_are_as_long_as_the_ratios(self):
        widths = [float(b.get("width")) for b in self.bars]
        self.assertAlmostEqual(widths[1] / widths[0], 2, places=1)
        self.assertLessEqual(widths[3], picture.BARS)

    def test_text_and_figures_are_there(self):
        texts = [e.text for e in self.root.iter() if e.tag.endswith("text")]
        for text in ("a < b", "0.25", "7.00"):
            self.assertIn(text, texts)
        self.assertNotIn("not measured", texts)


if __name__ == "__main__":
    unittest.main()
