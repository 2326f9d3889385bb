"""Plans and choices with a runtime whose scores are a hash: everything can be computed by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from echo import EchoRuntime, echo_logprob
from galenic.data.benchmarks.medmcqa import MEDMCQA
from galenic.data.benchmarks.medqa import MEDQA_4OPTIONS, MEDQA_5OPTIONS
from galenic.data.benchmarks.pubmedqa import PUBMEDQA
from galenic.data.example import Example
from galenic.errors import UserError
from galenic.evaluation.chat.format import ChatFormat
from galenic.evaluation.choice import run_chunk, softmax
from galenic.evaluation.plan import RunPlan, ScoringJob, make_plan, sample
from galenic.evaluation.prompts import Prompter
from galenic.evaluation.records import Record
from galenic.evaluation.scoring.generate import Generate
from galenic.evaluation.scoring.letter import Letter
from galenic.evaluation.scoring.text import Text, TextPerByte

Lanes = Sequence[tuple[Prompter, Sequence[Example]]]


def question(number: int, options: int = 4, context: str | None = None) -> Example:
    texts = ["aspirin", "warfarin", "heparin", "iron", "zinc"][:options]
    return Example(
        id=f"q{number}",
        question=f"What treats condition {number}?",
        context=context,
        options=dict(zip("ABCDE", texts, strict=False)),
        answer="B",
    )


def abstract(number: int, words: int = 12) -> Example:
    return Example(
        id=f"p{number}",
        question=f"Does it work {number}?",
        context=" ".join(f"word{i}" for i in range(words)),
        options={"yes": "yes", "no": "no", "maybe": "maybe"},
        answer="no",
    )


def plan_of(runtime: EchoRuntime, lanes: Lanes, debias: str = "none") -> RunPlan:
    return make_plan(runtime, lanes, debias, max_tokens=16)


def records_of(runtime: EchoRuntime, lanes: Lanes, debias: str = "none") -> list[Record]:
    plan = plan_of(runtime, lanes, debias)
    return [
        record
        for chunk in plan.chunks
        for record in run_chunk(runtime, chunk, debias=debias, max_tokens=16, seed=0)[0]
    ]


def naive_loglikelihood(context: str, continuation: str) -> float:
    tokens = [0, *(context + continuation).encode()]
    start = 1 + len(context.encode())
    return sum(echo_logprob(tokens[:at], tokens[at]) for at in range(start, len(tokens)))


def test_letter_scores_by_hand() -> None:
    asked = [question(n) for n in range(7)]
    records = records_of(EchoRuntime(), [(Prompter(MEDMCQA, Letter()), asked)])
    for example, record in zip(asked, records, strict=True):
        prompt = (
            f"Question: {example.question}\nA. aspirin\nB. warfarin\nC. heparin\nD. iron\nAnswer:"
        )
        values = {label: naive_loglikelihood(prompt, f" {label}") for label in "ABCD"}
        total = sum(math.exp(v) for v in values.values())
        assert record.loglikelihoods == pytest.approx(values, abs=1e-4)
        for label in "ABCD":
            share = math.exp(values[label]) / total
            assert record.probabilities[label] == pytest.approx(share, abs=1e-6)
        assert record.prediction == max(values, key=values.__getitem__)
        assert record.gold == "B"


def test_text_scores_by_hand() -> None:
    example = question(1)
    lanes = [(Prompter(MEDMCQA, kind), [example]) for kind in (Text(), TextPerByte())]
    summed, per_byte = records_of(EchoRuntime(), lanes)
    prompt = MEDMCQA.prompt(example)
    values = {k: naive_loglikelihood(prompt, f" {t}") for k, t in example.options.items()}
    assert summed.loglikelihoods == pytest.approx(values, abs=1e-4)
    assert summed.prediction == max(values, key=values.__getitem__)
    weighed = {k: values[k] / len(t.encode()) for k, t in example.options.items()}
    assert per_byte.prediction == max(weighed, key=weighed.__getitem__)
    assert per_byte.loglikelihoods == summed.loglikelihoods
    assert per_byte.probabilities == pytest.approx(softmax(weighed), abs=1e-6)


def test_permutations_average_over_every_cyclic_order() -> None:
    example = question(2)
    (record,) = records_of(
        EchoRuntime(), [(Prompter(MEDMCQA, Letter()), [example])], "permutations"
    )
    texts = list(example.options.values())
    mean = dict.fromkeys("ABCD", 0.0)
    for r in range(4):
        lines = [f"{label}. {texts[(i + r) % 4]}" for i, label in enumerate("ABCD")]
        prompt = "\n".join([f"Question: {example.question}", *lines, "Answer:"])
        shares = softmax({label: naive_loglikelihood(prompt, f" {label}") for label in "ABCD"})
        by_original = {"ABCD"[("ABCD".index(k) + r) % 4]: v for k, v in shares.items()}
        assert record.rotations[r] == pytest.approx(by_original, abs=1e-6)
        for label in "ABCD":
            mean[label] += by_original[label] / 4
    assert record.probabilities == pytest.approx(mean, abs=1e-6)
    assert record.prediction == max(mean, key=mean.__getitem__)
    assert record.debias == "permutations"


def test_nothing_to_permute_where_no_options_are_shown() -> None:
    lanes = [(Prompter(PUBMEDQA, Letter()), [abstract(1)])]
    plain, turned = (
        records_of(EchoRuntime(), lanes),
        records_of(EchoRuntime(), lanes, "permutations"),
    )
    assert turned[0].debias == "none"
    assert turned[0].probabilities == plain[0].probabilities


def test_prior_divides_by_the_content_free_question() -> None:
    example = question(3)
    (record,) = records_of(EchoRuntime(), [(Prompter(MEDMCQA, Letter()), [example])], "prior")
    free = MEDMCQA.prompt(replace(example, question="N/A"))
    ratio = {
        k: naive_loglikelihood(MEDMCQA.prompt(example), f" {k}")
        - naive_loglikelihood(free, f" {k}")
        for k in "ABCD"
    }
    assert record.probabilities == pytest.approx(softmax(ratio), abs=1e-6)
    assert record.prediction == max(ratio, key=ratio.__getitem__)


def test_both_medqa_forms_share_their_stem() -> None:
    five = [question(n, 5) for n in range(4)]
    four = [question(n, 4) for n in range(4)]
    runtime = EchoRuntime()
    lanes = [
        (Prompter(MEDQA_4OPTIONS, Letter()), four),
        (Prompter(MEDQA_5OPTIONS, Letter()), five),
    ]
    plan = plan_of(runtime, lanes)
    (chunk,) = plan.chunks
    assert [job.key[:2] for job in chunk.jobs][:2] == [
        ("medqa_4options", "q0"),
        ("medqa_5options", "q0"),
    ]
    run_chunk(runtime, chunk, debias="none", max_tokens=16, seed=0)
    separate = sum(1 + len(MEDQA_4OPTIONS.prompt(e).encode()) + 1 for e in four + five)
    assert len(runtime.packs[0].tokens) < 0.7 * separate


def test_chunks_respect_the_pack_size_and_keep_questions_whole() -> None:
    runtime = EchoRuntime()
    asked = [question(n) for n in range(60)]
    lanes = [(Prompter(MEDMCQA, kind), asked) for kind in (Letter(), Text())]
    plan = plan_of(runtime, lanes)
    assert len(plan.chunks) > 3
    assert len({job.key for job in plan.jobs}) == len(plan.jobs) == 120
    for chunk in plan.chunks:
        run_chunk(runtime, chunk, debias="none", max_tokens=16, seed=0)
        ids = [job.example.id for job in chunk.jobs]
        assert all(ids.count(i) == 2 for i in ids)
    assert all(len(pack.tokens) <= runtime.pack_tokens for pack in runtime.packs)


def test_few_paths_per_pack_changes_nothing() -> None:
    class Narrow(EchoRuntime):
        max_leaves = 3

    lanes = [(Prompter(MEDMCQA, Text()), [question(n) for n in range(5)])]
    narrow = Narrow()
    assert records_of(narrow, lanes) == records_of(EchoRuntime(), lanes)
    assert max(pack.num_leaves for pack in narrow.packs) <= 3


def test_fewshot_examples_become_a_pinned_prefix_per_scoring() -> None:
    shots = (question(90), question(91))
    asked = [question(n) for n in range(5)]
    runtime = EchoRuntime()
    prompters = [Prompter(MEDMCQA, kind, shots) for kind in (Letter(), Text(), TextPerByte())]
    plan = plan_of(runtime, [(p, asked) for p in prompters])
    prefixes = {chunk.prefix for chunk in plan.chunks}
    assert len(prefixes) == 2  # letters, and texts (both weighings ask the same)
    text = prompters[0].text(asked[0])
    assert text == (
        f"{MEDMCQA.prompt(shots[0])} B\n\n{MEDMCQA.prompt(shots[1])} B\n\n"
        f"{MEDMCQA.prompt(asked[0])}"
    )
    record = next(r for r in records_of(runtime, [(prompters[0], asked)]) if r.id == "q0")
    assert record.loglikelihoods["C"] == pytest.approx(naive_loglikelihood(text, " C"), abs=1e-4)


def test_chat_format_puts_the_answer_into_the_assistants_turn() -> None:
    runtime = EchoRuntime()
    chat = ChatFormat.of(runtime)
    assert chat is not None
    shot = question(9)
    prompter = Prompter(MEDMCQA, Letter(), (shot,), chat)
    body = MEDMCQA.prompt(question(1)).removesuffix("\nAnswer:")
    solved = MEDMCQA.prompt(shot).removesuffix("\nAnswer:")
    assert prompter.text(question(1)) == (
        f"<user>{solved}\n<assistant>Answer: B\n<user>{body}\n<assistant>Answer:"
    )
    kept = replace(prompter, chat=replace(chat, adds_start=False)).text(question(1))
    assert kept.startswith("<s><user>")


def test_a_long_context_loses_its_beginning() -> None:
    runtime = EchoRuntime(context_length=120)
    example = abstract(1, words=40)
    lanes = [(Prompter(PUBMEDQA, Letter()), [example])]
    plan = plan_of(runtime, lanes)
    (job,) = plan.jobs
    assert job.truncated
    texts = [bytes(read.request.tokens[1:]).decode() for read in job.reads]
    for text, label in zip(texts, example.options, strict=True):
        assert len(text) + 1 <= 120 + 1  # start token, and the last token is never computed
        assert text.startswith("Abstract: word")
        assert text.endswith(f"word39\nQuestion: {example.question}\nAnswer: {label}")
    assert len(max(texts, key=len)) + 1 > 120 - len(" word99")  # no more was cut than needed
    assert records_of(runtime, lanes)[0].truncated


@pytest.mark.parametrize("debias", ["none", "permutations"])
def test_a_huge_context_is_cut_before_options_are_tokenized(
    monkeypatch: pytest.MonkeyPatch, debias: str
) -> None:
    runtime = EchoRuntime(context_length=300)
    tokenized = [0]
    encode = runtime.encode_batch

    def counting(texts: Sequence[str]) -> list[tuple[int, ...]]:
        tokenized[0] += sum(map(len, texts))
        return encode(texts)

    pairs = runtime.encode_pairs

    def counting_pairs(texts: Sequence[tuple[str, str]]) -> object:
        tokenized[0] += sum(len(context) + len(text) for context, text in texts)
        return pairs(texts)

    monkeypatch.setattr(runtime, "encode_batch", counting)
    monkeypatch.setattr(runtime, "encode_pairs", counting_pairs)
    huge = replace(question(1), context=" ".join(f"word{i}" for i in range(18_000)))
    assert len(huge.context or "") > 156_000
    near = replace(question(2), context=" ".join(f"word{i}" for i in range(17_900, 18_000)))
    for example in (huge, near):
        (job,) = plan_of(runtime, [(Prompter(MEDMCQA, Letter()), [example])], debias).jobs
        assert job.truncated
        for read in job.reads:
            assert 301 - len(" word17999") <= len(read.request.tokens) <= 301
        if example is huge:
            assert tokenized[0] < 156_000  # not once, let alone for every option
    whole = plan_of(runtime, [(Prompter(MEDMCQA, Letter()), [near])]).jobs[0]
    cut = plan_of(runtime, [(Prompter(MEDMCQA, Letter()), [huge])]).jobs[0]
    end = [len(f"Question: {question(1).question}"), len(f"Question: {question(2).question}")]
    assert end[0] == end[1]
    assert [r.request.tokens[:150] for r in whole.reads] == [
        r.request.tokens[:150] for r in cut.reads
    ]


def texts_of(job: ScoringJob) -> list[str]:
    """What is computed for each option: all but the start token."""
    return [bytes(read.request.tokens[1:]).decode() for read in job.reads]


def test_a_long_question_loses_its_beginning_and_keeps_its_options() -> None:
    long = replace(question(1), question=" ".join(f"word{i}" for i in range(40)))
    runtime = EchoRuntime(context_length=150)
    (job,) = plan_of(runtime, [(Prompter(MEDMCQA, Letter()), [long])]).jobs
    assert job.truncated
    options = "".join(f"{label}. {text}\n" for label, text in long.options.items())
    for text, label in zip(texts_of(job), long.options, strict=True):
        assert text.startswith("Question: word")
        assert text.endswith(f" word39\n{options}Answer: {label}")
        assert 151 - len(" word39") <= len(text) + 1 <= 151
    behind = replace(long, context="It is an abstract of some words.")
    (other,) = plan_of(runtime, [(Prompter(MEDMCQA, Letter()), [behind])]).jobs
    assert texts_of(other) == texts_of(job)


def test_where_options_alone_do_not_fit_their_end_is_kept() -> None:
    runtime = EchoRuntime(context_length=40)
    (job,) = plan_of(runtime, [(Prompter(MEDMCQA, Letter()), [question(1)])]).jobs
    assert job.truncated
    whole = MEDMCQA.prompt(question(1))
    for text, label in zip(texts_of(job), question(1).options, strict=True):
        assert len(text) + 1 <= 41
        assert f"{whole} {label}".endswith(text)
        assert text.endswith(f"\nAnswer: {label}")


def test_what_cannot_fit_is_an_error() -> None:
    runtime = EchoRuntime(context_length=40)
    chat = ChatFormat.of(runtime)
    for prompter in (
        Prompter(MEDMCQA, Letter(), chat=chat),
        Prompter(MEDMCQA, Letter(), (question(9),)),
    ):
        with pytest.raises(UserError, match=r"q1 has .* tokens and"):
            plan_of(runtime, [(prompter, [question(1)])])
    with pytest.raises(UserError, match=r"q1 has \d+ tokens and 6 fit"):
        plan_of(EchoRuntime(context_length=7), [(Prompter(MEDMCQA, Letter()), [question(1)])])


@pytest.mark.parametrize(("answer", "expected"), [("so Answer: C.", "C"), ("it is hard", None)])
def test_generated_answers_are_parsed_or_unparsed(answer: str, expected: str | None) -> None:
    runtime = EchoRuntime(answer=answer)
    (record,) = records_of(runtime, [(Prompter(MEDMCQA, Generate()), [question(1)])])
    assert (record.prediction, record.text, record.probabilities) == (expected, answer, {})


def test_a_sample_is_random_in_order_and_repeatable() -> None:
    examples = [question(n) for n in range(100)]
    chosen = sample(examples, 30, seed=1)
    ids = [int(e.id[1:]) for e in chosen]
    assert ids == sorted(ids)
    assert ids != list(range(30))
    assert chosen == sample(examples, 30, seed=1) != sample(examples, 30, seed=2)
    assert sample(examples, None, 0) == sample(examples, 1000, 0) == examples
