"""Estimates and bills against the totals that the upstream prints on its pages."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.catalogue import Basis, Estimate, bill, estimate, load_catalogue

CATALOGUE = load_catalogue()
ENDPOINTS = {endpoint.id: endpoint for endpoint in CATALOGUE}
WAV = "https://example.com/voice.wav"
PNG = "https://example.com/fox.png"


def price_of(endpoint_id, **values):
    return estimate(ENDPOINTS[endpoint_id], values)


def bill_for(endpoint_id, values=None, **known):
    return bill(ENDPOINTS[endpoint_id], values or {}, **known)


def sides(side):
    return {"width": side, "height": side}


@pytest.mark.parametrize(
    ("endpoint_id", "values", "printed"),
    [
        ("black-forest-labs-flux-1-dev", sides(512), "0.0052"),
        ("black-forest-labs-flux-1-dev", sides(1024), "0.021"),
        ("black-forest-labs-flux-1-dev", sides(1536), "0.047"),
        ("black-forest-labs-flux-1-dev", {}, "0.02097152"),
        ("black-forest-labs-flux-1-schnell", sides(512), "0.0006"),
        ("black-forest-labs-flux-1-schnell", sides(1024), "0.0025"),
        ("black-forest-labs-flux-1-schnell", sides(1536), "0.0057"),
        ("black-forest-labs-flux-1-schnell", {}, "0.00251658"),
    ],
)
def test_a_price_by_the_pixel_rounds_to_the_printed_total(endpoint_id, values, printed):
    found = price_of(endpoint_id, **values)

    assert found.basis is Basis.EXACT
    assert found.usd.quantize(Decimal(printed)) == Decimal(printed)


@pytest.mark.parametrize(
    ("endpoint_id", "width", "height", "usd"),
    [
        ("black-forest-labs-flux-1-dev", 1328, 1328, "0.03527168"),
        ("black-forest-labs-flux-1-dev", 1472, 1140, "0.0335616"),
        ("black-forest-labs-flux-1-dev", 2048, 2048, "0.08388608"),
        ("black-forest-labs-flux-1-schnell", 1328, 1328, "0.0042326016"),
    ],
)
def test_a_size_that_is_on_no_page_has_a_price_by_the_pixel(endpoint_id, width, height, usd):
    values = {"width": width, "height": height}

    assert price_of(endpoint_id, **values) == Estimate(Decimal(usd), Basis.EXACT)
    assert bill_for(endpoint_id, values) == Decimal(usd)


@pytest.mark.parametrize(
    ("endpoint_id", "usd"),
    [("qwen-image-edit", "0.02"), ("seedream-v4-edit", "0.027"), ("kling-video-o1-r2v", "0.56")],
)
@pytest.mark.parametrize("pictures", [{"image": PNG}, {"images": [PNG]}, {"images": [PNG] * 4}])
def test_pictures_cost_the_same_whichever_way_and_however_many_are_sent(endpoint_id, usd, pictures):
    assert price_of(endpoint_id, **pictures) == Estimate(Decimal(usd), Basis.EXACT)


@pytest.mark.parametrize(
    ("endpoint_id", "values", "printed"),
    [
        ("p-image-t2i", {}, "0.005"),
        ("qwen-image-t2i", {"size": "2048*2048"}, "0.02"),
        ("qwen-image-t2i-lora", {}, "0.025"),
        ("seedream-v4-t2i", {"size": "2048*2048"}, "0.027"),
        ("wan-2-6-t2i", {}, "0.03"),
        ("z-image-turbo", {}, "0.005"),
        ("black-forest-labs-flux-1-kontext-dev", {}, "0.025"),
        ("nano-banana-edit", {}, "0.038"),
        ("p-image-edit", {}, "0.01"),
        ("qwen-image-edit", {}, "0.02"),
        ("qwen-image-edit", {"size": "4096*4096"}, "0.02"),
        ("wan-2-6-t2i", {"size": "1280*1280"}, "0.03"),
        ("p-image-t2i", {"aspect_ratio": "custom", "width": 1440, "height": 1440}, "0.005"),
        ("qwen-image-edit-2511", {}, "0.02"),
        ("qwen-image-edit-2511-lora", {}, "0.025"),
        ("seedream-v4-edit", {}, "0.027"),
        ("google-nano-banana-2-edit", {}, "0.0875"),
        ("google-nano-banana-2-edit", {"resolution": "2k"}, "0.13"),
        ("google-nano-banana-2-edit", {"resolution": "4k"}, "0.175"),
        ("nano-banana-pro-edit", {"resolution": "1k"}, "0.14"),
        ("nano-banana-pro-edit", {}, "0.14"),
        ("nano-banana-pro-edit", {"resolution": "4k"}, "0.24"),
    ],
)
def test_a_picture_costs_what_is_printed(endpoint_id, values, printed):
    found = price_of(endpoint_id, **values)

    assert (found.usd, found.basis) == (Decimal(printed), Basis.EXACT)


@pytest.mark.parametrize(
    ("endpoint_id", "values", "printed"),
    [
        ("p-video", {}, "0.1"),
        ("p-video", {"resolution": "720p", "duration": 10}, "0.2"),
        ("p-video", {"resolution": "1080p", "duration": 5}, "0.2"),
        ("p-video", {"resolution": "1080p", "duration": 10}, "0.4"),
        ("p-video", {"draft": True}, "0.025"),
        ("p-video", {"draft": True, "resolution": "1080p"}, "0.05"),
        ("vidu-q3-t2v", {"duration": 5}, "0.75"),
        ("vidu-q3-t2v", {"duration": 10}, "1.5"),
        ("vidu-q3-t2v", {"duration": 16}, "2.4"),
        ("vidu-q3-i2v", {"duration": 5}, "0.75"),
        ("vidu-q3-i2v", {"duration": 10}, "1.5"),
        ("vidu-q3-i2v", {"duration": 16}, "2.4"),
        ("wan-2-6-t2v", {}, "0.5"),
        ("wan-2-6-t2v", {"size": "720*1280", "duration": 10}, "1"),
        ("wan-2-6-t2v", {"size": "1280*720", "duration": 15}, "1.5"),
        ("wan-2-6-t2v", {"size": "1920*1080", "duration": 5}, "0.75"),
        ("wan-2-6-t2v", {"size": "1080*1920", "duration": 10}, "1.5"),
        ("wan-2-6-t2v", {"size": "1920*1080", "duration": 15}, "2.25"),
        ("kling-v2-1-i2v-pro", {"duration": 5}, "0.45"),
        ("kling-v2-1-i2v-pro", {"duration": 10}, "0.9"),
        ("seedance-v1-5-pro-i2v", {"duration": 5}, "0.26"),
        ("seedance-v1-5-pro-i2v", {"resolution": "480p", "duration": 10}, "0.24"),
        ("sora-2-i2v", {"duration": 4}, "0.4"),
        ("sora-2-i2v", {"duration": 8}, "0.8"),
        ("sora-2-i2v", {"duration": 12}, "1.2"),
        ("sora-2-pro-i2v", {"duration": 4}, "1.2"),
        ("sora-2-pro-i2v", {"duration": 8}, "2.4"),
        ("sora-2-pro-i2v", {"duration": 12}, "3.6"),
        ("sora-2-pro-i2v", {"size": "1080p", "duration": 4}, "2"),
        ("sora-2-pro-i2v", {"size": "1080p", "duration": 8}, "4"),
        ("sora-2-pro-i2v", {"size": "1080p", "duration": 12}, "6"),
        ("wan-2-1-i2v-720", {}, "0.3"),
        ("wan-2-1-i2v-720", {"duration": 10}, "0.6"),
        ("wan-2-1-i2v-720", {"duration": 15}, "0.9"),
        ("wan-2-2-i2v-720", {}, "0.3"),
        ("wan-2-2-i2v-720", {"duration": 8}, "0.48"),
        ("wan-2-2-i2v-720", {"duration": 10}, "0.6"),
        ("wan-2-2-i2v-720", {"duration": 15}, "0.9"),
        ("wan-2-2-t2v-720-lora", {}, "0.35"),
        ("wan-2-2-t2v-720-lora", {"duration": 8}, "0.56"),
        ("wan-2-5", {}, "0.5"),
        ("wan-2-5", {"size": "480p"}, "0.25"),
        ("wan-2-5", {"size": "480p", "duration": 10}, "0.5"),
        ("wan-2-5", {"size": "1280*720", "duration": 10}, "1"),
        ("wan-2-5", {"size": "1080p"}, "0.75"),
        ("wan-2-5", {"size": "1080p", "duration": 10}, "1.5"),
        ("wan-2-6-i2v", {"duration": 5}, "0.5"),
        ("wan-2-6-i2v", {"duration": 10}, "1"),
        ("wan-2-6-i2v", {"duration": 15}, "1.5"),
        ("wan-2-6-i2v", {"size": "720*1280", "duration": 5}, "0.5"),
        ("wan-2-6-i2v", {"size": "1080*1920", "duration": 10}, "1.5"),
        ("wan-2-6-i2v", {"size": "1920*1080", "duration": 5}, "0.75"),
        ("wan-2-6-i2v", {"size": "1920*1080", "duration": 10}, "1.5"),
        ("wan-2-6-i2v", {"size": "1920*1080", "duration": 15}, "2.25"),
        ("kling-video-o1-r2v", {"duration": 3}, "0.336"),
        ("kling-video-o1-r2v", {"duration": 5}, "0.56"),
        ("kling-video-o1-r2v", {"duration": 10}, "1.12"),
        ("infinitetalk", {"size": "480p"}, "0.25"),
        ("infinitetalk", {"size": "720p"}, "0.5"),
        ("minimax-speech-02-hd", {"prompt": "a" * 500}, "0.025"),
        ("minimax-speech-02-hd", {"prompt": "a" * 1000}, "0.05"),
        ("minimax-speech-02-hd", {"prompt": "a" * 10_000}, "0.5"),
        ("minimax-speech-02-hd", {"prompt": "é" * 99}, "0.00495"),
    ],
)
def test_a_clip_or_a_speech_costs_what_is_printed(endpoint_id, values, printed):
    found = price_of(endpoint_id, **values)

    assert (found.usd, found.basis) == (Decimal(printed), Basis.EXACT)
    assert bill_for(endpoint_id, values) == Decimal(printed)


@pytest.mark.parametrize(
    ("endpoint_id", "values", "usd"),
    [
        ("wan-2-2-i2v-720", {"duration": 7}, "0.42"),
        ("wan-2-2-i2v-720", {"duration": 20}, "1.2"),
        ("wan-2-2-t2v-720-lora", {"duration": 10}, "0.7"),
        ("wan-2-5", {"duration": 6}, "0.6"),
        ("wan-2-5", {"size": "832*480"}, "0.25"),
        ("wan-2-5", {"size": "1000*700"}, "0.5"),
        ("wan-2-5", {"size": "1280*721"}, "0.75"),
        ("kling-v2-1-i2v-pro", {"duration": 7}, "0.9"),
        ("wan-2-1-i2v-720", {"duration": 1}, "0.3"),
    ],
)
def test_what_the_list_leaves_out_is_bounded_by_what_it_holds(endpoint_id, values, usd):
    found = price_of(endpoint_id, **values)

    assert (found.usd, found.basis) == (Decimal(usd), Basis.CEILING)


@pytest.mark.parametrize(
    ("endpoint_id", "values"),
    [
        ("sora-2-i2v", {}),
        ("sora-2-pro-i2v", {"size": "8k", "duration": 4}),
        ("wan-2-5", {"size": "3840*2160"}),
        ("wan-2-5", {"size": 720}),
        ("wan-2-6-t2v", {"duration": -5}),
        ("vidu-q3-t2v", {"duration": "5"}),
        ("vidu-q3-t2v", {"duration": True}),
        ("vidu-q3-t2v", {"duration": float("nan")}),
        ("black-forest-labs-flux-1-dev", {"width": None}),
        ("gpt-oss-120b", {"prompt": "a", "max_tokens": "many"}),
        ("moonshot-kimi", {"messages": [], "model": "kimi-k1"}),
        ("nano-banana-pro-edit", {"resolution": ["4k"]}),
    ],
)
def test_an_input_without_a_price_is_unlisted_and_no_crash(endpoint_id, values):
    found = price_of(endpoint_id, **values)

    assert (found.usd, found.basis) == (None, Basis.UNLISTED)


def test_a_sound_track_takes_the_place_of_the_duration():
    found = price_of("p-video", duration=2, audio=WAV)

    assert found.basis is Basis.MEDIA
    assert found.usd == Decimal("0.2")  # ten seconds, the longest that can be asked for
    assert bill_for("p-video", {"duration": 2, "audio": WAV}) is None
    assert bill_for("p-video", {"duration": 2, "audio": WAV}, output_seconds=7.5) == Decimal("0.15")


def test_the_length_of_a_file_does_not_matter_where_the_duration_decides():
    assert bill_for("p-video", {"duration": 2}, output_seconds=7.5) == Decimal("0.04")


@pytest.mark.parametrize(
    ("seconds", "usd"),
    [
        (1, "0.21"),
        (3, "0.21"),
        (4, "0.42"),
        (6, "0.42"),
        (6.5, "0.63"),
        (9, "0.63"),
        (10, "0.63"),
        (10.1, None),
    ],
)
def test_a_motion_clip_is_billed_by_its_band(seconds, usd):
    billed = bill_for("kling-v2-6-std-motion-control", output_seconds=seconds)

    assert billed == (None if usd is None else Decimal(usd))


def test_a_motion_clip_of_unknown_length_is_allowed_the_dearest_band():
    found = price_of("kling-v2-6-std-motion-control")
    asked = price_of("kling-v2-6-std-motion-control", duration=3)

    assert found == asked == Estimate(Decimal("0.63"), Basis.MEDIA)
    assert bill_for("kling-v2-6-std-motion-control", {"duration": 3}) is None


def test_speech_without_a_stated_cost_is_billed_by_its_seconds():
    found = price_of("chatterbox-turbo", prompt="a" * 150)

    assert (found.usd, found.basis) == (Decimal("0.019"), Basis.AFTER)
    assert bill_for("chatterbox-turbo") is None
    assert bill_for("chatterbox-turbo", output_seconds=10.25) == Decimal("0.01025")


@pytest.mark.parametrize(
    ("endpoint_id", "tokens", "printed"),
    [
        *[
            ("cogito-671b-v2-1-fp8-dynamic", tokens, printed)
            for tokens, printed in [(1000, "0.0005"), (10_000, "0.005"), (1_000_000, "0.5")]
        ],
        *[
            (endpoint_id, tokens, printed)
            for endpoint_id in ("gpt-oss-120b", "granite-4-0-h-small", "qwen3-32b-awq")
            for tokens, printed in [(1000, "0.01"), (10_000, "0.1"), (100_000, "1"), (10**6, "10")]
        ],
    ],
)
def test_tokens_cost_what_is_printed_whichever_way_they_went(endpoint_id, tokens, printed):
    for input_tokens in (0, tokens // 3, tokens):
        billed = bill_for(
            endpoint_id, input_tokens=input_tokens, output_tokens=tokens - input_tokens
        )

        assert billed == Decimal(printed)


@pytest.mark.parametrize(
    ("model", "usd"),
    [("kimi-k2.6", "0.00063325"), ("kimi-k2.7-code", "0.00063325"), ("kimi-k3", "0.002355")],
)
def test_tokens_in_and_out_have_prices_of_their_own(model, usd):
    billed = bill_for("moonshot-kimi", {"model": model}, input_tokens=35, output_tokens=150)

    assert billed == Decimal(usd)


def test_a_text_is_billed_only_with_both_counts():
    assert bill_for("gpt-oss-120b", {"prompt": "a"}, input_tokens=10) is None
    assert bill_for("gpt-oss-120b", {"prompt": "a"}, output_tokens=10) is None


@pytest.mark.parametrize(
    ("prompt", "input_tokens"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 20, 201),
        ("def add(a: int, b: int) -> int:\n    return a + b\n" * 20, 400),
        ("敏捷的棕色狐狸跳过懒狗。" * 20, 240),
        ("a", 35),  # a sample's whole count, the template included
    ],
)
def test_an_estimate_of_a_text_is_not_below_its_longest_reply(prompt, input_tokens):
    found = price_of("gpt-oss-120b", prompt=prompt, max_tokens=300)
    longest = bill_for("gpt-oss-120b", input_tokens=input_tokens, output_tokens=300)

    assert found.basis is Basis.CEILING
    assert longest <= found.usd <= 3 * longest


def test_the_estimate_of_a_conversation_counts_every_message():
    message = {"role": "user", "content": "a fox in the snow"}
    one = price_of("granite-4-0-h-small", messages=[message])
    ten = price_of("granite-4-0-h-small", messages=[message] * 10)
    short = price_of("granite-4-0-h-small", messages=[message], sampling_params={"max_tokens": 12})

    assert ten.usd - one.usd >= 9 * Decimal("0.00001") * len("a fox in the snow") / 4
    assert one.usd - short.usd == 500 * Decimal("0.00001")


@given(prompt=st.text(min_size=1), max_tokens=st.integers(1, 4096))
def test_any_prompt_has_an_estimate(prompt, max_tokens):
    found = price_of("gpt-oss-120b", prompt=prompt, max_tokens=max_tokens)

    assert found.usd > max_tokens * Decimal("0.00001")


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "width",
                "size",
                "duration",
                "prompt",
                "audio",
                "draft",
                "messages",
                "sampling_params",
                "model",
                "resolution",
            ]
        ),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.just([])
        | st.just({}),
    )
)
def test_no_input_makes_a_price_crash_or_negative(values):
    for endpoint in CATALOGUE:
        found = estimate(endpoint, values)

        assert (found.usd is None) == (found.basis is Basis.UNLISTED)
        assert found.usd is None or found.usd >= 0


def test_money_is_never_a_float():
    for endpoint in CATALOGUE:
        values = {"prompt": "a", "messages": [], "duration": 4, "size": "480p"}

        assert isinstance(estimate(endpoint, values).usd, Decimal | None)
