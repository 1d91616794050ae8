"""Who answers: the model behind the address, its length, its facts, its template, its open door (D01, D02, D16 to D18)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, JsonValue

from services.contract.fitness import Finding, Fitness
from services.inference.doctor import cures
from services.inference.doctor.asking import PING, QUOTE, Ask, UnreadableError, Wire, user, validated
from services.inference.doctor.exchange import NoAnswerError, is_loopback
from services.inference.doctor.subject import Result, Subject, failed, passed, refused, skipped, warned
from services.inference.planning.presets import EngineName, catalogue
from services.inference.servers.wording import brief, few

TEMPLATE_DIGEST: Final = "template_digest"
_OWNERS: Final[Mapping[str, EngineName]] = {
    "vllm": "vllm",
    "sglang": "sglang",
    "tensorrt_llm": "trtllm",
    "reference engine, no language model": "reference",
}
"""`owned_by` of an engine's models."""
_MUST_AGREE: Final = (
    "model",
    "engine",
    "version",
    "system_fingerprint",
    "max_model_len",
    "root",
    "tp",
    "tool_parser",
    "reasoning_parser",
)
"""Facts in which replicas of one model are the same."""
_LONGEST_NAME: Final = 300
_CACHE_INFO: Final = re.compile(r"^vllm:cache_config_info\{([^}\n]{1,8000})\}", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w{1,80})="([^"]{0,80})"')
_DIGITS: Final = 12
_SGLANG_FACTS: Final = {
    "version": "version",
    "tp_size": "tp",
    "tool_call_parser": "tool_parser",
    "reasoning_parser": "reasoning_parser",
    "max_total_num_tokens": "kv_tokens",
    "dtype": "dtype",
    "quantization": "quantization",
    "mem_fraction_static": "memory_fraction",
}


def _tokens(value: JsonValue) -> JsonValue:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


_Tokens = Annotated[int | None, BeforeValidator(_tokens)]
"""What is no number of tokens counts as not reported."""


class _Card(Wire):
    id: str
    root: str | None = None
    owned_by: str | None = None
    max_model_len: _Tokens = None
    context_length: _Tokens = None


class _Cards(Wire):
    data: list[_Card] = Field(default_factory=list)


async def model(subject: Subject) -> Result:
    """D01: the model that was asked for is the one that is served. Raises NoAnswerError for a server that is not ready."""
    answer = await subject.exchange.get(subject.exchange.base + subject.speech.models_path)
    if answer.status in {401, 403}:
        return failed(
            f"HTTP {answer.status}: the server wants a key{', and not this one' if subject.has_key else ''}",
            "give the key of this server with --api-key-file FILE; agents read OPENAI_API_KEY or ANTHROPIC_API_KEY",
        )
    if answer.status >= 500:
        raise NoAnswerError(f"/v1/models says {refused(answer)}")
    if answer.status == 429 and subject.model is not None:
        raise refused(answer)
    if answer.status in {404, 405} and subject.model is not None:
        # Some providers list nothing; whether the model is there shows when it is asked (D03).
        return warned(
            f"the server lists no models: HTTP {answer.status}", "is the address the base URL, ending in /v1?"
        )
    if answer.status != 200:
        return failed(
            f"/v1/models says {refused(answer)}", "is the address the base URL of a model server, ending in /v1?"
        )
    try:
        cards = validated(_Cards, answer.body).data
    except UnreadableError as error:
        return failed(f"/v1/models is no list of models: {error}", "is this the address of a model server?")
    return _chosen(subject, cards)


def _chosen(subject: Subject, cards: Sequence[_Card]) -> Result:
    names = few([card.id for card in cards])
    if subject.model is None and len(cards) != 1:
        return failed(f"several models and none named: {names}", "name one of them with --model (agents: LLM_MODEL)")
    card = next((card for card in cards if subject.model in {None, card.id}), None)
    if card is None and _is_hosted(subject.exchange.base):
        return warned(
            f"{subject.model!r} is not listed; if it is an alias, D03 shows it", "name the dated model behind it"
        )
    if card is None:
        return failed(
            f"{subject.model!r} is not served; the server lists {names}",
            "name one of these with --model (agents: LLM_MODEL), or serve the model under that name with --served-model-name",
        )
    if len(card.id) > _LONGEST_NAME or not card.id.isprintable():
        return failed(f"no name of a model: {brief(card.id)}", "is this the address of a model server?")
    subject.model = card.id
    subject.served_len = card.max_model_len or card.context_length
    engine = _OWNERS.get((card.owned_by or "").casefold())
    subject.engine = subject.engine or engine
    told = {"engine": engine, "owned_by": card.owned_by, "root": card.root, "max_model_len": subject.served_len}
    subject.facts |= {name: str(value) for name, value in told.items() if value is not None}
    return passed(f"serves {card.id!r}" + (f" among {len(cards)} models" if len(cards) > 1 else ""))


def _is_hosted(url: str) -> bool:
    """Providers serve more names than they list; engines of one's own serve what they list, whatever name they are given."""
    rows = [row for row in catalogue().hosted.values() if isinstance(row, dict)]
    return urlsplit(url).hostname in {urlsplit(str(row.get("base_url"))).hostname for row in rows}


async def length(subject: Subject) -> Result:
    """D02: the context is as long as the preset and the request need."""
    wanted = subject.wanted_len or (subject.preset.lengths.default if subject.preset else None)
    if subject.served_len is None:
        return warned(
            "the server does not report max_model_len",
            "state it where the endpoint is configured; without it prompts that are too long are found by the server's error",
        )
    if wanted is not None and subject.served_len < wanted:
        return failed(f"{subject.served_len} tokens, needed are {wanted}", cures.length(subject, wanted))
    return passed(f"{subject.served_len} tokens" + (f", needed are {wanted}" if wanted is not None else ""))


async def template(subject: Subject) -> Result:
    """D16: a digest of one rendered prompt, by which replicas are compared."""
    ask = Ask(messages=user(QUOTE), max_tokens=1, tools=True)
    body = await subject.tokenized(ask)
    rendered = None if body is None else body.get("token_strs") or body.get("tokens")
    if not isinstance(rendered, list):
        return skipped("the server has no /tokenize that renders a conversation")
    digest = hashlib.sha256(json.dumps(rendered).encode()).hexdigest()
    subject.facts[TEMPLATE_DIGEST] = digest
    return passed(f"sha256 {digest[:16]} of {len(rendered)} tokens")


async def facts(subject: Subject) -> Result:
    """D17: what the server says about itself, for the record and for comparing replicas."""
    root = subject.exchange.root
    version = (await subject.exchange.get(f"{root}/version")).body
    if isinstance(version, dict) and isinstance(version.get("version"), str):
        subject.facts["version"] = str(version["version"])
    if subject.engine in {None, "sglang"}:
        for page in ("server_info", "get_server_info"):
            _note_sglang(subject, (await subject.exchange.get(f"{root}/{page}")).body)
    if subject.engine in {None, "vllm"}:
        _note_cache(subject, (await subject.exchange.get(f"{root}/metrics")).text)
    told = ", ".join(f"{name} {value}" for name, value in subject.facts.items() if name != TEMPLATE_DIGEST)
    return passed(told) if told else warned("the server says nothing about itself", "note engine, version and flags")


def _note_sglang(subject: Subject, body: JsonValue) -> None:
    if not isinstance(body, dict):
        return
    for name, fact in _SGLANG_FACTS.items():
        if isinstance(value := body.get(name), str | int | float) and not isinstance(value, bool):
            subject.facts[fact] = str(value)


def _note_cache(subject: Subject, page: str) -> None:
    """VLLM's cache, in tokens: blocks times block size."""
    found = _CACHE_INFO.search(page)
    if found is None:
        return
    labels = dict(_LABEL.findall(found[1]))
    blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
    if blocks.isdecimal() and size.isdecimal() and len(blocks) < _DIGITS and len(size) < _DIGITS:
        subject.facts["kv_tokens"] = str(int(blocks) * int(size))
    kept = {"gpu_memory_utilization": "memory_fraction", "cache_dtype": "kv_dtype"}
    subject.facts |= {fact: labels[name] for name, fact in kept.items() if labels.get(name)}


async def door(subject: Subject) -> Result:
    """D18: who else can use the server."""
    if is_loopback(subject.exchange.base):
        return passed("examined at a loopback address, which only this machine reaches")
    if subject.has_key:
        answer = await subject.send(subject.payload(Ask(messages=user(PING), max_tokens=1, bare=True)), anonymous=True)
        if answer.status in {401, 403}:
            return passed("asks for a key")
        if answer.status != 200:
            return skipped(f"without the key it says {refused(answer)}")
    return warned(
        "anybody who reaches the address can use the server: it answers without a key",
        "start it with a key (vLLM: VLLM_API_KEY in its environment; `inference up --auth` on SLURM), or on an internal network",
    )


def compared(found: Sequence[Fitness]) -> tuple[Fitness, ...]:
    """D16 and D17 of replicas: what differs between the first that said anything and another makes the other one fail."""
    if not found:
        return ()
    first = next((fitness for fitness in found if fitness.facts), found[0])
    return tuple(fitness if fitness is first else _beside(first, fitness) for fitness in found)


def _beside(first: Fitness, other: Fitness) -> Fitness:
    changed = {"D16": _difference(first, other, (TEMPLATE_DIGEST,)), "D17": _difference(first, other, _MUST_AGREE)}
    cures_ = {
        "D16": "serve every replica from the same revision with the same chat template and template defaults",
        "D17": "start every replica with the same engine, version and flags; a model table uses one of each",
    }

    def judged(finding: Finding) -> Finding:
        if not (seen := changed.get(finding.id)):
            return finding
        return finding.model_copy(
            update={"verdict": "fail", "seen": f"unlike {first.url}: {seen}", "cure": cures_[finding.id]}
        )

    return other.model_copy(update={"findings": tuple(map(judged, other.findings))})


def _difference(first: Fitness, other: Fitness, names: Sequence[str]) -> str:
    ours_, theirs_ = ({**one.facts, "model": one.model} for one in (first, other))
    pairs = {name: (ours_.get(name), theirs_.get(name)) for name in names}
    return "; ".join(
        f"{name} {theirs[:64]} instead of {ours[:64]}"
        for name, (ours, theirs) in pairs.items()
        if ours is not None and theirs is not None and _same_name(ours) != _same_name(theirs)
    )


def _same_name(fact: str) -> str:
    """Two machines may keep the same checkpoint in different folders."""
    return fact.rstrip("/").rpartition("/")[2]
