"""The report is one page that is whole by itself: structure, pictures, and the paper's figures labelled as such."""

from __future__ import annotations

import base64
import dataclasses
import html.parser
import json
import re
import shutil

import numpy as np
import pytest

from qblif import cli
from qblif.gen import network_file, zoo
from qblif.gen.training import checkpoint
from qblif.sim import runs
from qblif.sim.html import paper, pictures, write
from qblif.sim.information import Levels

EMPTY = {"meta", "img", "br", "link", "hr", "input"}
PNG = b"\x89PNG\r\n\x1a\n"
PICTURES = {"work", "histograms", "layers", "information", "surrogates", "paper"}


class Structure(html.parser.HTMLParser):
    """Notes what is open and never closed, all attributes, and the text."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.wrong, self.attributes, self.text, self.headings = [], [], [], "", 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.headings += tag == "h2"
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def made(trained_once, tmp_path_factory):
    """The page of a run and of the digits network."""
    return write([str(trained_once), "digits"], tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def page(made):
    return Structure(made.page.read_text(encoding="utf-8"))


def test_every_tag_is_closed_and_there_are_all_sections(page):
    assert page.open == [] and page.wrong == []
    assert page.headings == 7
    for heading in ("Networks side by side", "Burst levels", "Information, equations (4) to (7)", "Surrogate gradients",
                    "Training", "The paper's figures", "Where this is from"):
        assert heading in page.text


def test_nothing_is_loaded_from_elsewhere(made, page):
    text = made.page.read_text(encoding="utf-8")
    assert "<script" not in text and "@import" not in text and "url(" not in text
    for tag, name, value in page.attributes:
        if name in ("src", "href"):
            assert value.startswith("data:image/png;base64,"), (tag, name, value[:60])


def test_the_pictures_inside_the_page_are_those_beside_it(made, page):
    inside = [base64.b64decode(value.partition(",")[2]) for tag, name, value in page.attributes if name == "src"]
    beside = {path.stem: path.read_bytes() for path in made.pictures.glob("*.png")}
    assert set(beside) == PICTURES | {"training"}
    assert sorted(inside) == sorted(beside.values()) and len(set(inside)) == len(inside)
    for data in inside:
        assert data.startswith(PNG)
        assert int.from_bytes(data[16:20], "big") > 1200          # pixels across, as the page is wide
    assert all(value for _, name, value in page.attributes if name == "alt")


def test_the_figures_are_those_of_the_run_and_of_the_card(page, trained_once):
    card = runs.load(trained_once).card
    for share in (card["golden_accuracy"], card["float_accuracy"], zoo.card("digits").golden_accuracy):
        assert f"{100 * share:.2f} %" in page.text
    assert "0 predictions differ" in page.text
    assert f"{card['sops'] / 1e6:,.3f} M" in page.text
    assert "by the paper's energy model, not measured" in page.text


def test_the_figures_of_the_paper_are_labelled_and_its_conditions_stated(page):
    assert page.text.count(paper.LABEL) >= 2
    for words in ("95.58 %", "67.64 µJ", "weights in floating point", "What differs", "What does not fit together",
                  "62.37 µJ is printed", "Box-ET is named in the paper without a formula"):
        assert words in page.text


def test_how_the_network_in_detail_was_trained_is_said(page, trained_once):
    text = re.sub(r"\s+", " ", page.text)
    assert "qblif, surrogate relsg_et, γ from 1" in text and "name mlp, hidden [16]" in text
    assert "small has 1,210 parameters; it was trained with ReLSG-ET, equation (12), γ from 1." in text
    assert "small was trained with ReLSG-ET, equation (12)." in text


def test_a_surrogate_that_the_paper_has_not_is_drawn_and_named(tmp_path):
    network = zoo.load("digits")
    recipe = json.loads(network.meta["recipe"])
    recipe["neuron"] |= {"surrogate": "clipped", "gamma": 0.25}
    network_file.save(dataclasses.replace(network, meta=network.meta | {"recipe": json.dumps(recipe)}),
                      tmp_path / "a.network")
    text = Structure(write([str(tmp_path / "a.network")], tmp_path / "report.html", limit=20).page.read_text(
        encoding="utf-8")).text
    assert "it was trained with clipped quantiser, LSQ, γ from 0.25" in text
    labels = [line.get_label() for line in pictures.surrogates("clipped").axes[1].lines]
    assert len(labels) == 5 and labels[-1] == "clipped quantiser, LSQ: this network's"


def test_every_layer_has_its_histogram():
    levels = [Levels(f"layer{i}", np.array([3, 1])) for i in range(19)]
    drawn = [axis.get_title(loc="left") for axis in pictures.histograms(levels, {}).axes if axis.get_visible()]
    assert drawn == [one.name for one in levels]


def test_what_the_card_knows_and_what_is_not_the_whole_test_set_is_said(tmp_path):
    card = zoo.card("digits")
    made = write(["digits"], tmp_path / "report.html", limit=20)
    text = Structure(made.page.read_text(encoding="utf-8")).text
    assert f"{100 * card.float_accuracy:.2f} %" in text and "20 of 360, now; float and quantised: card" in text
    row = {"name": "a", "data": "d", "accuracy": 0.9, "sops": 2e6, "additions": 1e6}
    figure = pictures.accuracy_against_work([row | {"part": "20 of 360 images"}, row | {"part": ""}])
    told = [words.get_text() for words in figure.legends[0].get_texts()]
    assert told == ["a\nd, 90.00 %\n20 of 360 images", "a\nd, 90.00 %"]


def test_the_same_run_gives_the_same_page(made, trained_once, tmp_path):
    again = write([str(trained_once), "digits"], tmp_path / "report.html")
    assert again.page.read_bytes() == made.page.read_bytes()


def test_runs_that_differ_in_the_penalty_have_a_curve(trained_once, tmp_path):
    card = runs.load(trained_once).card
    folders = [trained_once, shutil.copytree(trained_once, tmp_path / "dear")]
    tensors, facts = checkpoint.read(folders[1] / "weights.safetensors")
    facts["recipe"]["train"]["sop_penalty"] = 0.3
    checkpoint.write(folders[1] / "weights.safetensors", tensors, facts)
    made = write(list(map(str, folders)), tmp_path / "report.html", limit=20)
    assert (made.pictures / "penalty.png").read_bytes().startswith(PNG)
    text = Structure(made.page.read_text(encoding="utf-8")).text
    assert trained_once.name in text and "dear" in text and card["name"] in text


def test_a_penalty_curve_takes_series_with_several_penalties_only():
    points = [{"series": name, "penalty": penalty, "accuracy": .9 - penalty / 10, "additions": 1e6 - penalty}
              for name, penalty in (("a", 0), ("a", 0), ("a", 1), ("b", 0), ("b", 0))]
    assert pictures.swept([*points, {"name": "of the zoo"}]) == points[:3]
    assert pictures.swept(points[3:]) == []
    line, seeds = pictures.penalised(points[:3]).axes[0].lines
    assert line.get_xdata() == pytest.approx([1, 0.999999]) and line.get_ydata() == pytest.approx([90, 80])
    assert len(seeds.get_xdata()) == 3


def test_names_are_escaped(tmp_path):
    network = dataclasses.replace(zoo.load("digits"), name="<b>bold</b> & co")
    network_file.save(network, tmp_path / "a.network")
    made = write([str(tmp_path / "a.network")], tmp_path / "report.html", limit=20)
    text = made.page.read_text(encoding="utf-8")
    assert "<b>bold</b>" not in text and "&lt;b&gt;bold&lt;/b&gt; &amp; co" in text
    assert Structure(text).wrong == []
    assert "20 of 360 test images" in re.sub(r"\s+", " ", Structure(text).text)


def test_the_command_says_where_the_page_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", "digits", "--limit", "20"]) == 0
    assert "saved report.html" in capsys.readouterr().out
    assert (tmp_path / "report.html").exists() and (tmp_path / "report-pictures" / "layers.png").exists()
