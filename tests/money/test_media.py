"""Images, audio and documents of a prompt count by their providers' rules, not as text."""

import base64
import struct
import time
from decimal import Decimal

import pytest

from openai_parallel_toolkit.calls.models import ChatModel, ResponsesModel, request_of
from openai_parallel_toolkit.costs.image_rules import image_size
from openai_parallel_toolkit.costs.media import media_of
from openai_parallel_toolkit.costs.prices import ModelPrice, PriceBook

A_DOLLAR_A_TOKEN = ModelPrice(input_usd=Decimal(1_000_000), output_usd=Decimal(0))


def png(width, height):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIB", 13, b"IHDR", width, height, 8) + b"\0" * 20


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0" * 20


def jpeg(width, height, *, before=70_000):
    """A JPEG whose size comes after a profile of many bytes."""
    head = b"\xff\xd8"
    while before > 0:
        size = min(before, 60_000)
        head += struct.pack(">BBH", 0xFF, 0xE2, size + 2) + b"p" * size
        before -= size
    return head + struct.pack(">BBHBHHB", 0xFF, 0xC2, 17, 8, height, width, 3) + b"\0" * 9


def webp(kind, width, height):
    body = {
        b"VP8X": struct.pack("<IBHBHB", 0, (width - 1) & 255, (width - 1) >> 8, 0, 0, 0)[:4]
        + struct.pack("<I", width - 1)[:3]
        + struct.pack("<I", height - 1)[:3],
        b"VP8L": b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14),
        b"VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
    }[kind]
    return b"RIFF\0\0\0\0WEBP" + kind + struct.pack("<I", len(body)) + body + b"\0" * 20


def wav(seconds, rate=8_000):
    head = (
        b"RIFF"
        + struct.pack("<I", 0)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate, 1, 8)
    )
    return head + b"data" + struct.pack("<I", seconds * rate) + b"\0" * (seconds * rate - 44)


def data_url(data, form="image/png"):
    return f"data:{form};base64,{base64.b64encode(data).decode()}"


def image(url, **more):
    return {"type": "image_url", "image_url": {"url": url, **more}}


def asked(*parts, model="gpt-4o"):
    text = {"type": "text", "text": "what is this?"}
    return request_of(ChatModel(model, content=[text, *parts], max_tokens=1))


def tokens_of(part, model="gpt-4o"):
    """About, and at most, how many tokens a part is."""
    with_it, without = asked(part, model=model), asked(model=model)
    words = len(with_it.body) - len(without.body) - with_it.media.size_bytes
    assert with_it.prompt_tokens - without.prompt_tokens - with_it.media.likely_tokens <= words
    book = PriceBook({model: A_DOLLAR_A_TOKEN})
    most_usd = book.max_cost_usd(with_it) - book.max_cost_usd(without)
    return with_it.media.likely_tokens, int(most_usd) - words


@pytest.mark.parametrize(
    "data",
    [
        png(640, 480),
        gif(640, 480),
        jpeg(640, 480),
        jpeg(640, 480, before=0),
        webp(b"VP8X", 640, 480),
        webp(b"VP8L", 640, 480),
        webp(b"VP8 ", 640, 480),
    ],
)
def test_an_images_size_is_read_from_its_first_bytes(data):
    assert image_size(data) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBPVP8X",
        b"BM" * 90,
        png(0, 5),
    ],
)
def test_a_size_that_is_not_told_is_unknown(data):
    assert image_size(data) is None


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # The examples of OpenAI's guide.
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-5.4", (1024, 1024), "high", 1229),
        ("gpt-5.4", (2048, 2048), "high", 3000),
        # Other models, dated, fine-tuned and behind a router's name.
        ("gpt-4o-mini", (512, 512), "auto", 8500),
        ("gpt-4o-mini-2024-07-18", (2048, 2048), "auto", 25_501),
        ("ft:gpt-4o-2024-08-06:org::id", (1024, 1024), "auto", 765),
        ("openai/gpt-4.1", (1024, 1024), "auto", 765),
        ("gpt-5.1", (1024, 1024), "auto", 630),
        ("o3", (1024, 1024), "auto", 675),
        ("gpt-4.1-mini", (1024, 1024), "auto", 1659),
        ("gpt-5.6-sol", (6400, 3200), "auto", 24_000),
        ("gpt-5.6-sol", (6400, 3200), "low", 154),
        ("claude-opus-4-7", (1000, 1000), "auto", 1296),
    ],
)
def test_an_image_counts_as_the_models_documentation_says(model, size, detail, tokens):
    part = image(data_url(png(*size)), detail=detail)
    assert tokens_of(part, model) == (tokens, tokens)


@pytest.mark.parametrize(
    "part",
    [
        image(data_url(b"?" * 900_000)),
        image("https://example.com/a.png"),
        {"type": "image_url", "image_url": "https://example.com/a.png"},
        {"type": "image_url", "image_url": {"url": data_url(b"?" * 9, "image/tiff")}},
    ],
)
def test_an_image_of_unknown_size_counts_at_the_documented_most(part):
    likely, most = tokens_of(part)
    assert (likely, most) == (765, 85 + 8 * 170)


def test_a_model_that_is_not_known_has_the_dearest_rule_for_the_cap_and_a_usual_one_for_limits():
    assert tokens_of(image(data_url(png(512, 512))), "my-deployment") == (361, 8500)


def test_the_responses_api_has_the_same_parts():
    item = {"type": "input_image", "image_url": data_url(png(1024, 1024)), "detail": "high"}
    plain = request_of(ResponsesModel("gpt-4o", [{"role": "user", "content": "hello"}]))
    both = request_of(ResponsesModel("gpt-4o", [{"role": "user", "content": [item]}]))
    assert 765 <= both.prompt_tokens - plain.prompt_tokens < 765 + 30


@pytest.mark.parametrize(
    ("part", "model", "likely", "most"),
    [
        (("wav", wav(60)), "gpt-audio", 600, 600),
        (("wav", wav(60)), "gemini-2.5-flash", 1920, 1920),
        (("mp3", b"\xff\xfb" * 80_000), "gpt-audio", 100, 1600),
        (("opus", b"?" * 40_000), "gpt-audio", 100, 533),
    ],
)
def test_audio_counts_by_its_length_else_by_the_lowest_rate_of_its_format(
    part, model, likely, most
):
    form, data = part
    audio = {"data": base64.b64encode(data).decode(), "format": form}
    request = asked({"type": "input_audio", "input_audio": audio}, model=model)
    assert request.media.likely_tokens == pytest.approx(likely, abs=2)
    assert request.media.most_audio_tokens == request.media.most_tokens
    assert request.media.most_tokens == pytest.approx(most, abs=2)


def test_audio_is_held_at_the_price_of_audio_or_has_none():
    audio = {"data": base64.b64encode(wav(60)).decode(), "format": "wav"}
    request = asked({"type": "input_audio", "input_audio": audio}, model="m")
    plain = {"input_usd": Decimal(1), "output_usd": Decimal(2)}
    assert PriceBook({"m": ModelPrice(**plain)}).max_cost_usd(request) is None
    dear = ModelPrice(**plain, audio_input_usd=Decimal(1_000_000))
    assert PriceBook({"m": dear}).max_cost_usd(request) == pytest.approx(Decimal(1920), abs=3)


def test_a_spoken_reply_is_held_at_the_price_of_audio():
    request = request_of(ChatModel("m", content="hi", max_tokens=7, modalities=["text", "audio"]))
    price = ModelPrice(
        input_usd=Decimal(0), output_usd=Decimal(1), audio_output_usd=Decimal(1_000_000)
    )
    assert PriceBook({"m": price}).max_cost_usd(request) == 7


@pytest.mark.parametrize(
    ("pages", "data"),
    [
        (
            40,
            b"%PDF-1.7\n1 0 obj <</Linearized 1/L 900000/H [ 1 2]/O 3/E 4/N 40/T 5>>"
            + b"?" * 300_000,
        ),
        (12, b"%PDF-1.4\n" + b"?" * 300_000 + b"<</Type/Pages/Kids[1 0 R]/Count 12>>\n%%EOF"),
        (6, b"%PDF-1.5\n" + b"?" * 300_000),
    ],
)
def test_a_document_counts_by_its_pages_and_may_fill_the_context(pages, data):
    file = {"filename": "a.pdf", "file_data": data_url(data, "application/pdf")}
    request = asked({"type": "file", "file": file})
    assert request.media.likely_tokens == pages * (1_500 + 765)
    book = PriceBook({"gpt-4o": A_DOLLAR_A_TOKEN})
    assert book.max_cost_usd(request) == book._model("gpt-4o").context_tokens


def test_a_text_that_is_sent_as_a_file_is_text():
    file = {"file_data": data_url(b"word " * 1000, "text/plain")}
    request = request_of(
        ResponsesModel("m", [{"role": "user", "content": [{"type": "input_file", **file}]}])
    )
    assert request.media.likely_tokens == pytest.approx(1250, abs=2)
    assert request.media.most_tokens >= 5000
    assert request.media.documents == 0


def test_base64_in_a_text_is_text():
    request = request_of(ChatModel("m", content=data_url(b"?" * 4000)))
    assert request.media is None
    assert request.prompt_tokens > 1300


def test_two_parts_add_up():
    part = image(data_url(png(1024, 1024)))
    assert asked(part, part).media.most_tokens == 2 * 765


def test_a_picture_of_20_megabytes_costs_milliseconds():
    picture = image(data_url(jpeg(900, 900)) + "A" * 26_000_000)
    body = {"messages": [{"role": "user", "content": [picture]}]}
    began = time.thread_time()
    found = media_of(body, "gpt-4o")
    assert time.thread_time() - began < 0.05
    assert found.likely_tokens == 765
