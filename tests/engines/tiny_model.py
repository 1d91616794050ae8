"""Builds the checkpoint of the engine tests: a Qwen3 of 361,216 parameters that is trained on a handful of lessons.

Run with the engines' own Python, by `scripts/tiny-model`. Nothing is downloaded; one seed and one thread, so that the same
machine builds the same file. The lessons are those that the reference engine answers too (its `policy.lesson`).
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

STEPS: Final = 150
RATE: Final = 4e-3
VOCABULARY: Final = 512
END: Final = "<|im_end|>"
SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", END)
MARKS: Final = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""Single tokens that are text all the same: the engine's parsers read them."""

TEMPLATE: Final = """\
{%- if tools %}<|im_start|>system
Tools:{% for tool in tools %} {{ tool.function.name }}({{ (tool.function.parameters.properties or {}).keys() | join(", ") }})
{%- endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ "user" if message.role == "tool" else message.role }}
{% if message.role == "tool" %}<tool_response>
{{ message.content }}
</tool_response>{% else %}{{ message.content or "" }}{% endif %}
{%- for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {% if call.function.arguments is string %}
{{- call.function.arguments }}{% else %}{{ call.function.arguments | tojson }}{% endif %}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}"""

CALL: Final = '<tool_call>\n{"name": "get_quote", "arguments": {"ticker":"ABC"}}\n</tool_call>'
"""As the engine's grammar wants a forced call: its frame with blanks, the arguments without."""
VERDICT: Final = '{"score":4,"verdict":"pass"}'
QUOTE_TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "get_quote",
        "parameters": {"type": "object", "properties": {"ticker": {"type": "string"}}, "required": ["ticker"]},
    },
}
CHATTER: Final = """
what is the price of an option when its volatility rises please compute explain write say hello who are you list three
facts about bonds spot strike rate maturity call put a table of numbers with code in python answer briefly market data
close high low volume decide trade buy sell hold and give reasons as JSON
"""
WORDS: Final = tuple(CHATTER.split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """A conversation and the answer to it."""

    messages: list[dict[str, Any]]
    answer: str
    tools: bool = False
    thinking: bool = False


def lessons(draw: random.Random) -> Iterator[Lesson]:
    """One of each kind, with new wordings: ten."""
    thought = "<think>\nI think.\n</think>\n\n"
    yield Lesson(messages=_asked("ping", draw), answer="pong", thinking=_coin(draw), tools=_coin(draw))
    yield Lesson(messages=_asked("Quote ABC", draw), answer=CALL, thinking=_coin(draw), tools=True)
    yield Lesson(messages=_quoted(draw), answer="The quote is done.", thinking=_coin(draw), tools=True)
    yield Lesson(messages=_asked(f"Judge: {_prose(draw)}", draw), answer=VERDICT, thinking=_coin(draw))
    yield Lesson(messages=_asked(f"Think: {_prose(draw)}", draw), answer=f"{thought}Done.", thinking=True)
    yield Lesson(messages=_asked(f"Think: {_prose(draw)}", draw), answer="Done.")
    for text in (_prose(draw), _prose(draw), _noise(draw), _noise(draw)):
        yield Lesson(messages=_asked(text, draw), answer="OK.", thinking=_coin(draw), tools=_coin(draw))


def _coin(draw: random.Random) -> bool:
    return draw.random() < 0.3


def _asked(text: str, draw: random.Random) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": _prose(draw)}] if _coin(draw) else []
    return [*system, {"role": "user", "content": text}]


def _quoted(draw: random.Random) -> list[dict[str, Any]]:
    call = {"id": "c1", "type": "function", "function": {"name": "get_quote", "arguments": '{"ticker":"ABC"}'}}
    price = f"{draw.randint(1, 999)}.{draw.randint(0, 99)}"
    result = draw.choice((price, f'{{"price":{price}}}'))
    return [
        *_asked("Quote ABC", draw),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": result},
    ]


def _prose(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(1, 16))) + draw.choice(("", ".", "?", "!"))


def _noise(draw: random.Random) -> str:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:{}[]\"'-_/\n"
    return "".join(draw.choices(letters, k=draw.randint(3, 60)))


def tokenizer() -> Any:
    """Byte-level BPE on the wordings of the lessons, with the tokens of chat, tools and thinking."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKS), special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    draw = random.Random(0)
    texts = [text for _ in range(40) for one in lessons(draw) for text in (one.messages[-1]["content"], one.answer)]
    made.train_from_iterator([*texts, " ".join(WORDS)], trainer)
    made.add_tokens(list(MARKS))
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token=END,
        pad_token=SPECIAL[0],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def model(words: Any) -> Any:
    """The untrained model."""
    config = Qwen3Config(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=256,
        vocab_size=VOCABULARY,
        tie_word_embeddings=True,
        max_position_embeddings=8192,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
    )
    made = Qwen3ForCausalLM(config)
    assert sum(weights.numel() for weights in made.parameters()) == 361_216
    return made


def prompt_of(words: Any, lesson: Lesson) -> str:
    """What the model reads before it answers."""
    text: str = words.apply_chat_template(
        lesson.messages,
        tools=[QUOTE_TOOL] if lesson.tools else None,
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=lesson.thinking,
    )
    return text


def train(made: Any, words: Any) -> float:
    """Teach the lessons; the last loss."""
    optimiser = torch.optim.AdamW(made.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=STEPS)
    draw = random.Random(1)
    loss = torch.zeros(())
    for _ in range(STEPS):
        ids, labels = batch(words, list(lessons(draw)))
        loss = made(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    return float(loss.detach())


def batch(words: Any, taught: list[Lesson]) -> tuple[Any, Any]:
    """Token ids and labels, [lesson, position]; of the prompt nothing is learnt (-100)."""
    rows = []
    for lesson in taught:
        given = words.encode(prompt_of(words, lesson))
        answer = words.encode(lesson.answer + END)
        rows.append((given + answer, [-100] * len(given) + answer))
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [words.pad_token_id] * (width - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in rows])
    return ids, labels


def check(made: Any, words: Any) -> None:
    """Each lesson, in wordings not seen in training. Raises AssertionError naming the one that was not learnt."""
    draw = random.Random(2)
    made.eval()
    for _ in range(5):
        for lesson in lessons(draw):
            ids = torch.tensor([words.encode(prompt_of(words, lesson))])
            out = made.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False)
            said = words.decode(out[0, ids.shape[1] :], skip_special_tokens=False).removesuffix(END)
            assert said == lesson.answer, f"{lesson.messages!r}: {lesson.answer!r} was taught, the model says {said!r}"


def main(folder: Path) -> None:
    """Build, train, check and save."""
    started = time.monotonic()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(0)
    words = tokenizer()
    made = model(words)
    loss = train(made, words)
    trained = time.monotonic()
    made.to(torch.bfloat16)
    check(made, words)
    made.save_pretrained(folder)
    words.save_pretrained(folder)
    print(f"tiny-model: loss {loss:.4f}, training {trained - started:.0f} s, in all {time.monotonic() - started:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
