"""Whole runs with other encoders: a Chinese shop with one from scratch, and a compressed one.

Minutes; `make test-encoders` runs them.
"""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers ops of the graph)
from click.testing import CliRunner
from rich.console import Console

from components.ingestion.folder import open_folder
from models.encoders.folder import open_encoder
from models.encoders.tokenizer import WordPieceTokenizer
from pipeline.cli import main
from pipeline.config import load_configuration
from pipeline.layout import encoders_folder, report_folder, serving_folder
from pipeline.newest import newest_version
from pipeline.report import new_products_reached, write_report
from pipeline.runner import run_pipeline
from tests.end_to_end.running import embedded_server, small, wait_until_available
from tests.end_to_end.shop import THEMES, write_shop
from tests.tiny_bert import write_tiny_bert

pytestmark = pytest.mark.encoders

CHINESE = dict(
    pair.split(":")
    for pair in """
    tea:茶叶 cup:杯子 mug:马克杯 egg:鸡蛋 bottle:瓶子 water:饮水 hot:保温 cake:蛋糕
    christmas:圣诞 star:星星 candle:蜡烛 decoration:装饰 hanging:挂件 bunting:彩旗 party:派对
    garden:花园 metal:金属 wall:墙壁 sign:标牌 wood:木质 house:房屋 night:夜晚 round:圆形
    cotton:棉布 wool:羊毛 doll:娃娃 heart:爱心 bag:手袋 lunch:午餐 love:恋人 rabbit:兔子
    office:办公 paper:纸张 card:卡片 clock:时钟 alarm:闹铃 board:白板 tag:标签 drawer:抽屉
    design:设计 ceramic:陶瓷 glass:玻璃 ivory:象牙 knob:把手 silver:银色 gold:金色 steel:钢制
    red:红色 vintage:古典 pink:粉色 white:白色 retro:怀旧 blue:蓝色 cream:米色 small:小号
    green:绿色 large:大号 kitchen:厨房 sewing:缝纫 studio:工作室 student:学生 engineer:工程师
    """.split()  # noqa: SIM905
)


def in_chinese(file: Path, columns: set[str]) -> None:
    """Write the words of some columns in Chinese, without blanks between them."""
    with file.open(encoding="utf-8", newline="") as stream:
        header, *rows = list(csv.reader(stream))
    translated = [
        [
            "".join(CHINESE.get(word, word) for word in value.split())
            if column in columns
            else value
            for column, value in zip(header, row, strict=True)
        ]
        for row in rows
    ]
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *translated])


def run(shop: Path, encoder: str, root: Path, *settings: str):
    config = load_configuration(None, [*small(shop, Path(encoder)), *settings])
    outcome = run_pipeline(config, root=root, console=Console(file=io.StringIO()))
    assert outcome.version is not None
    reached = new_products_reached(outcome.version, open_folder(shop), config.data.options())
    write_report(outcome, config, reached, report_folder(root))
    return outcome


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    """A Chinese shop's root, after a run with an encoder of its own."""
    folder = tmp_path_factory.mktemp("chinese")
    shop = write_shop(folder / "data")
    in_chinese(shop.folder / "items.csv", {"title", "category", "material"})
    in_chinese(shop.folder / "users.csv", {"occupation"})
    outcome = run(
        shop.folder, "scratch", folder / "root",
        "scratch.layers=1", "scratch.hidden_size=64", "scratch.steps=60",
        "features.lexical_size=64",
    )  # fmt: skip
    return shop, folder / "root", outcome


def test_a_chinese_shop_is_pushed_and_its_vocabulary_is_its_characters(chinese):
    _, root, outcome = chinese
    assert outcome.blessed and outcome.infra_blessed and outcome.version is not None
    (path,) = encoders_folder(root).iterdir()
    folder = open_encoder(str(path))
    pieces = tf.constant(list(CHINESE.values()))
    read = WordPieceTokenizer(folder).pieces(pieces)
    assert read.row_lengths().numpy().tolist() == [len(word) for word in CHINESE.values()]
    assert not (read.values.numpy() == folder.unk_id).any()
    vocabulary = outcome.version / "assets" / "vocab.txt"
    assert vocabulary.read_bytes() == folder.vocabulary_file.read_bytes()


def test_new_chinese_products_go_to_who_likes_their_theme(chinese):
    """Users keep to two of six themes; by chance a third of a list would be of those."""
    shop, root, _ = chinese
    themes = {item: values.theme for item, values in shop.items.items()}
    right = []
    with embedded_server(serving_folder(root)) as client:
        wait_until_available(client, int(newest_version(serving_folder(root)).name))
        for user, history in shop.histories.items():
            bought = [themes[item] for item in history]
            likes = sorted(THEMES, key=bought.count)[-2:]
            (ranking,) = client.recommend([user], k=4, new_only=True)
            right += [themes[item] in likes for item in ranking.item_ids]
    assert np.mean(right) > 0.6


def test_the_report_and_the_command_line_show_chinese(chinese):
    shop, root, _ = chinese
    page = (report_folder(root) / "index.html").read_text(encoding="utf-8")
    reports = [page, *(p.read_text(encoding="utf-8") for p in report_folder(root).rglob("*.html"))]
    assert any("杯子" in text or "花园" in text or "色" in text for text in reports)
    new = next(iter(sorted(shop.unsold)))
    with embedded_server(serving_folder(root)) as client:
        wait_until_available(client, int(newest_version(serving_folder(root)).name))
        target = client.target
        asked = ["explain", "--user", "u1", "--item", new, "--target", target, "--json"]
        result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert any(character in result.output for character in "".join(CHINESE.values()))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return write_shop(folder / "data"), write_tiny_bert(folder / "bert"), folder


@pytest.mark.parametrize("student", ["static", "layers"])
def test_a_compressed_encoder_passes_the_gates_and_answers_with_every_signature(plain, student):
    shop, bert, folder = plain
    outcome = run(
        shop.folder, str(bert), folder / student,
        f"compression.student={student}", "compression.weights=int8", "compression.steps=20",
    )  # fmt: skip
    assert outcome.blessed and outcome.infra_blessed and outcome.version is not None
    model = tf.saved_model.load(str(outcome.version))
    assert {"recommend", "embed_items", "describe_items", "explain"} <= set(model.signatures)
    whole = [v for v in model.signatures["embed_items"].variables if v.dtype == tf.int8]
    assert len(whole) == (1 if student == "static" else 7)
    for lent in (model._shelf.served, model._shelf.judged):
        assert lent.anchor_teacher.dtype == tf.int8
    # What a title is embedded as is what stands on the shelf.
    row = 7
    item = model._shelf.item_id[row].numpy().decode()
    values = shop.items[item]
    text = {"title": values.title, "category": values.theme, "brand": ""}
    text["description"] = f"material: {values.material}." if values.material else ""
    price = np.nan if values.price is None else values.price
    embedded = model.signatures["embed_items"](
        **{name: tf.constant([value]) for name, value in text.items()},
        price=tf.constant([price], tf.float32),
    )["embedding"]
    shelf = tf.cast(model._shelf.embedding[row], tf.float32)
    np.testing.assert_allclose(embedded[0], shelf, atol=0.02)
