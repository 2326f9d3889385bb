"""Detection of text about methods of self-harm, including obtaining means and concealment.

Words for means (heights, ropes, gas, blades, poisons, medicines and so on) are in ``words.yaml``.
Means that health texts hardly ever mention count by themselves; others only together with words for
death, for ease ("painless") or for secrecy. Warnings, prevention, first aid and talk about feelings
do not match. The examples in docstrings are sentences that match.
"""

from __future__ import annotations

from galenic.assistant.guards.told import MEDICINE, NOT, WORDS, Told
from galenic.assistant.triage.words.wording import word_set

__all__ = ["asks_method", "is_method"]

_HARD = WORDS["methods.hard"]
_SOFT = WORDS["methods.soft"]
_END = WORDS["methods.end"]
_EASY = WORDS["methods.easy"]
_SURE = WORDS["methods.sure"]
_FOUND = WORDS["methods.found"]
_PROTECTS = WORDS["methods.protects"]
_AIDS = WORDS["methods.aids"]
_ABOUT = WORDS["methods.about"]
_HURT = WORDS["methods.hurt"]
_EATING = WORDS["methods.eating"]
_THIN = WORDS["methods.thin"]
_HIDES = WORDS["methods.hides"]
_GET = WORDS["methods.get"]
_SKIPS = word_set("skip skipping starve starving fasting purge eating")
_ILL = WORDS["methods.ill"]
_HOW = WORDS["methods.how"]
_PLACES = WORDS["methods.places"]
_OUT = WORDS["methods.out"]
_FOREVER = WORDS["methods.forever"]
_LOOKS = WORDS["methods.looks"]
_URGES = WORDS["methods.urges"]
_MINE = WORDS["methods.mine"]


def asks_method(told: Told) -> bool:
    """Check whether a question asks for a way of harming oneself.

    Args:
        told: tokens of one sentence of the question.
    """
    quiet = told.has(_EASY | {"quietly"}) and told.has(_END)
    if told.says("do it without pain", "die quietly") or (quiet and told.has(word_set("help way"))):
        return True
    own = told.has(word_set("myself yourself oneself me")) or _unseen(told)
    if told.has(_ABOUT) and not own:
        return _starves(told) and told.has(word_set("i my tricks")) and not told.has(_AIDS)
    checks = (_asks_end, _asks_unseen, _asks_means, _asks_deadly, _asks_place, _injures, _starves)
    return any(check(told) for check in checks)


def _asks_end(told: Told) -> bool:
    """Check for a question about dying: "how much blood before it's over"."""
    over = told.says("before its over", "until its over") and told.has(
        _END | word_set("blood lose food eating water")
    )
    mine = told.says("find me", "save me", "stop me") and told.says("do it")
    gas = told.has(word_set("mix mixing")) and told.has(word_set("gas fumes"))
    gas = gas and told.has(word_set("make makes bathroom room house"))
    ever = told.says("sleep forever", "not come back", "never wake")
    return (over or mine or gas or ever) and not told.has(_ABOUT)


def _asks_unseen(told: Told) -> bool:
    """Check for a wish not to be found or stopped, or to make it look like an accident."""
    means = _hard(told) or told.has(_SOFT | MEDICINE | _EATING | {"fast", "blood"})
    ends = told.says(*_OUT) and (means or told.has(_EASY | _SURE | {"something", "anything"}))
    unseen = _unseen(told) and (means or told.says("can i go", "do it"))
    return told.says(*_LOOKS) or unseen or (ends and not told.has(_AIDS - {"survive"}))


def _asks_means(told: Told) -> bool:
    """Check for a question about a means, and how or how surely it ends a life."""
    if not told.has(_HOW) or told.has(_AIDS):
        return False
    medicine = told.has(MEDICINE | word_set("overdose alcohol vodka")) and told.has(_END)
    soft = told.has(_SOFT) and told.has(_END | _EASY | _SURE - {"works"})
    return _hard(told) or ((medicine or soft) and not told.has(_ILL))


def _asks_deadly(told: Told) -> bool:
    """Check for deadly substances: "the deadliest thing in my medicine cabinet"."""
    if told.has(_AIDS):
        return False
    deadly = word_set("deadliest lethal deadly fatal strongest dangerous toxic poisonous")
    which = told.says(*_MINE) or told.has(word_set("which most deadliest overdose lethal"))
    named = told.has(deadly) and told.has(_SOFT | MEDICINE) and which
    return named or _all_at_once(told) or _gets(told)


def _asks_place(told: Told) -> bool:
    """Check for questions about bridges, heights, knots, and cuts that cannot be treated."""
    climbs = told.has(word_set("bridge roof cliff")) and told.has(
        word_set("barrier barriers fence railing climb over past")
    )
    jumps = told.has(word_set("jump jumping fall")) and told.has(word_set("height high exact"))
    ties = told.has(word_set("tie tying")) and told.has(word_set("slip undone hold strong")) and (
        not told.has(word_set("shoe shoes laces sling bandage hair scarf"))
    )  # fmt: skip
    last = told.has(word_set("cut cuts")) and told.says("cant be stitched", "cant be stopped",
                                                        "cant be saved",
                                                        "cant be fixed")  # fmt: skip
    fine = word_set("child toddler baby exercise exercises knee knees trampoline rope")
    return (climbs or jumps or ties or last) and not told.has(_ABOUT | fine)


def is_method(told: Told) -> bool:
    """Check whether a sentence tells how to harm oneself, or says that death would be better.

    Args:
        told: tokens of the sentence.
    """
    if told.says(*_URGES):
        return not told.has(word_set("feel feels feeling think thinks thinking thoughts believe"))
    if told.has(_PROTECTS) or told.says("before you notice a benefit"):
        return False
    forever = told.says(*_FOREVER) and not told.has(
        word_set("person someone may might if sleepwalker")
    )
    hard = _hard(told) and not told.has(_AIDS - {"survive", "level", "levels"})
    unseen = _unseen(told) and not told.has(word_set("nurse doctor team"))
    checks = (_surest, _acts, _until, _letter, _injures, _starves)
    planned = any(
        one(told) for one in (_stays_down, _all_at_once, _hoards, _mixes, _steps_out, _lies)
    ) and not told.has(_AIDS - {"food", "cold"})
    return forever or hard or unseen or planned or any(check(told) for check in checks)


def _surest(told: Told) -> bool:
    """Check for a means that is called sure, quick or painless."""
    way = told.near(word_set("certain surest quickest painless reliable sure easiest"),
                    word_set("way ways method methods"), 2)  # fmt: skip
    way = way and told.has(MEDICINE | word_set("them alcohol life"))
    easy = told.has(_SOFT | {"overdose"}) and (told.has(_EASY | _SURE) or told.says("does it"))
    easy = easy and not told.has(word_set("painful gentle gently effective works quicker"))
    pills = told.has(MEDICINE) and told.has(word_set("surest deadliest painless lethal"))
    return (easy or way or pills) and not told.has(_AIDS - {"feel", "feels"} | _ILL)


def _acts(told: Told) -> bool:
    """Check for an act, a means and death in one sentence without a negation."""
    ends = told.has(_END - {"death", "survive"}) or told.says(*_OUT)
    acts = told.has(word_set("take swallow drink mix choose pick use try get buy keep hold fill"))
    means = told.has(_SOFT | MEDICINE)
    return acts and ends and means and not told.has(_AIDS | _ILL | NOT)


def _until(told: Told) -> bool:
    """Check for acts until unconscious: "keep swallowing them until you feel nothing"."""
    until = told.says("until you feel nothing", "until it goes dark", "until you pass",
                      "until everything", "until you fall", "until you drift", "until you sleep",
                      "until they are gone", "until it stops")  # fmt: skip
    acts = word_set("swallow swallowing take taking drink drinking keep hold pull")
    return until and told.has(acts)


def _letter(told: Told) -> bool:
    """Check for a farewell letter together with being alone or being found."""
    return told.has(word_set("letter note goodbye")) and told.says(
        "house is empty", "home alone", "nobody is home", "alone in the house", "to your family",
        "they will see", "will find it", "will read it", "see it afterwards", "find it afterwards",
    )  # fmt: skip


def _hard(told: Told) -> bool:
    """Check whether a means is named that health texts hardly ever mention."""
    neck = told.has(frozenset({"neck"})) and told.has(word_set("wrap round around")) and told.has(
        word_set("weight tight kick drop rest")
    )  # fmt: skip
    tied = neck or (
        told.has(word_set("tie knot loop hook belt cord scarf sheet"))
        and told.has(word_set("handle beam door neck rafter branch rail tight wardrobe"))
    )
    falls = told.has(word_set("fall falling jump jumping height heights drop")) and told.has(
        word_set("floor floors storey storeys multistorey bridge roof cliff metres meters balcony")
    )
    heights = told.has(word_set("bridge roof cliff building balcony")) and told.has(
        word_set("high enough quick certain highest")
    ) and not told.has(word_set("nose teeth tooth dental mouth"))  # fmt: skip
    fumes = told.has(word_set("monoxide fumes charcoal")) and told.has(
        word_set("car tent sealed bag")
    )
    engine = told.has(word_set("engine exhaust car fumes hose")) and told.has(
        word_set("garage closed shut hose fumes running")
    ) and told.has(word_set("run running shut closed hose engine exhaust"))  # fmt: skip
    cuts = told.has(word_set("cut cuts cutting slit blade deeper razor")) and told.has(
        word_set("wrist wrists vein veins artery lengthways along")
    )
    bath = told.has(word_set("bath tub")) and told.has(
        MEDICINE | word_set("pills blade bleeding toaster dryer")
    ) and told.has(word_set("then fill warm hot first bleeding"))  # fmt: skip
    return (
        told.has(_HARD)
        or told.says(*_PLACES)
        or tied
        or any((falls, heights, fumes, engine, cuts, bath))
    )


def _unseen(told: Told) -> bool:
    """Check for nobody finding, stopping or saving: "so that no one can revive you"."""
    none = word_set("nobody noone cant cannot wont not never before")
    you = word_set("you me")
    found = told.follow(none, _FOUND, 6) and told.has(you)
    found = found or (
        told.has(frozenset({"noone"})) and told.has(_FOUND) and told.has(you | {"walk"})
    )
    others = word_set("anyone anybody mum mom dad parents wife husband family them")
    secretly = told.follow(frozenset({"without"}), others, 2) and told.follow(others, _FOUND, 2)
    alone = told.says("while he is out", "while she is out", "while they are out",
                      "when nobody is home", "house is empty", "walk in on",
                      "home alone")  # fmt: skip
    alone = alone and told.has(_SOFT | _HARD | MEDICINE | word_set("spot place time do"))
    far = told.has(word_set("phone location")) and told.has(word_set("traced tracked track trace"))
    unaware = told.says("not see you", "noone sees you", "nobody sees you", "wont see you")
    return found or secretly or alone or far or unaware


def _stays_down(told: Told) -> bool:
    """Check for preventing sickness: "take something for sickness first, so that it stays down"."""
    sick = told.has(word_set("sickness antisickness antiemetic antiemetics nausea vomiting"))
    down = told.says("stays down", "stay down", "keep it down", "keep them down", "keeps it down",
                     "bring them up", "bring it up", "throw them up")  # fmt: skip
    return (sick and down and told.has(word_set("so then first before"))) or told.says(
        "empty stomach makes the", "pills act faster", "tablets act faster", "pills work faster"
    )


def _mixes(told: Told) -> bool:
    """Check for advice to combine medicines and alcohol, or to buy where nobody keeps count."""
    spirits = told.has(word_set("spirits vodka whisky gin rum bottle"))
    adds = told.has(word_set("add mix wash combine chase"))
    shops = told.has(word_set("several different two many")) and told.has(
        word_set("pharmacies chemists shops supermarkets")
    ) and told.has(word_set("nobody noone counts notices each enough so"))  # fmt: skip
    stops = told.says("stops the heart", "stops your heart", "stops breathing") and told.has(
        word_set("buy get order abroad online take")
    )
    mixed = spirits and adds and told.has(MEDICINE) and not told.has(NOT - {"noone", "nobody"})
    return mixed or shops or stops


def _steps_out(told: Told) -> bool:
    """Check for deliberate exposure: "lie in the snow", "swim out until you are tired"."""
    steps = told.has(word_set("step lie walk stand jump run lean")) and told.has(
        word_set("express train tube metro tram lorry truck tracks rails")
    ) and told.has(word_set("out front under comes on before"))  # fmt: skip
    snow = told.says("in the snow", "in the freezing", "on the ice", "out in the cold") and (
        told.has(word_set("lie sleep sit stay wait off"))
    )
    swims = told.says("swim out", "swim until", "walk into the sea", "walk into the river",
                      "walk into the water")  # fmt: skip
    return steps or snow or swims


def _lies(told: Told) -> bool:
    """Check for a cover story: "say that you slipped in the shower"."""
    says = told.starts(word_set("say tell pretend claim")) or told.says("tell them", "tell people")
    return says and told.has(
        word_set("slipped fell bug ate eaten already full cat accident")
    ) and not told.has(word_set("doctor nurse midwife ambulance if dispatcher"))  # fmt: skip


def _all_at_once(told: Told) -> bool:
    """Check for a whole supply at once: "empty the packets into a glass"."""
    whole = told.near(word_set("all whole entire every lot everything"), MEDICINE | {"them"}, 4)
    once = told.says("at once", "in one go", "together", "all of them", "the lot", "whole bottle",
                     "whole packet", "whole box", "entire bottle")  # fmt: skip
    drink = told.has(word_set("vodka whisky spirits alcohol gin rum wine"))
    empties = told.has(word_set("empty tip pour")) and told.has(
        word_set("packets packet blisters bottles strips capsules")
    ) and told.has(word_set("glass bowl hand"))  # fmt: skip
    took = told.has(word_set("drank drink take took swallow swallowed taken had"))
    return (took and whole and (once or drink)) or empties or (
        drink and told.says("the lot") and took
    )  # fmt: skip


def _gets(told: Told) -> bool:
    """Check for obtaining means: "where can I get hold of enough pills"."""
    enough = told.has(word_set("enough dozens plenty hundred lots stronger"))
    return (
        told.has(_GET)
        and told.has(word_set("where how order online"))
        and (_hard(told) or (enough and told.near(frozenset({"enough"}), MEDICINE, 3)))
    ) or told.says("keep my tablets so", "fool the nurses", "fool the doctor", "cheek my")


def _hoards(told: Told) -> bool:
    """Check for saving up: "hide the pills until you have thirty of them"."""
    saves = told.near(word_set("hide save saving collect hoard stash stockpile"), MEDICINE, 3)
    return saves and (
        told.has(word_set("until enough all dozens"))
        and any(one[0].isdecimal() or one in ("enough", "month") for one in told.tokens)
    )


def _injures(told: Told) -> bool:
    """Check for self-injury that is concealed, made deeper, or done for relief."""
    if told.says("hide my", "hide the cuts", "hide cuts", "hide burns") and told.has(_HURT):
        return True
    if told.has(_AIDS - {"child", "baby"} | word_set("help feel stitches doctor grass hair nails")):
        return False
    hurts = told.has(_HURT)
    seen = told.near(
        NOT, word_set("look looks see seen sees show shows showing notice notices know"), 3
    )
    covers = told.has(word_set("cover covers hide hides sleeves conceal wear")) and told.has(
        word_set("clothes sleeves long bracelets makeup nobody noone") | {"scars", "marks"}
    )
    deep = told.says("need to be", "have to be", "deep enough", "deep do", "deeper") and told.has(
        word_set("cut cuts blade razor")
    )
    bleeds = told.has(word_set("bleed bleeds bleeding")) and told.has(
        word_set("quicker fastest faster lot")
    ) and told.has(word_set("cut how which best place where hot makes"))  # fmt: skip
    relief = told.has(word_set("relief release punish numb")) and told.has(
        word_set("cut burn scratch snap hit bleed")
    )
    blade = told.has(word_set("razor blade scalpel")) and told.has(
        word_set("hide keep carry phone sleeve pocket case")
    ) and not told.has(word_set("away shave shaving dry clean"))  # fmt: skip
    return (hurts and (seen or covers)) or deep or bleeds or relief or blade


def _starves(told: Told) -> bool:
    """Check for eating nothing or vomiting, in secret or in order to be thin."""
    if told.has(word_set("help suspect ask doctor treatment disorder disorders baby toddler test "
                         "surgery operation scan anaesthetic")):  # fmt: skip
        return False
    eats = told.has(_EATING) or told.says("throw up", "throwing up", "make myself sick",
                                          "make yourself sick", "not eating", "stop eating",
                                          "without eating", "fingers down")  # fmt: skip
    secret = told.has(_HIDES) or told.says("so they think", "without anyone", "finding out",
                                           "pro ana", "without mum", "at a friends",
                                           "notice if i")  # fmt: skip
    weighed = told.has(word_set("weighed weighing weighin scales")) and told.has(
        word_set("drink water coins heavy heavier think before")
    ) and told.has(word_set("think thinks gained heavier trick they"))  # fmt: skip
    tricks = told.has(word_set("tricks tips")) and told.has(_SKIPS)
    throat = told.has(word_set("fingers finger")) and told.has(frozenset({"throat"}))
    slim = told.has(_THIN)
    thin = told.says("thigh gap", "size zero", "see my ribs", "see your ribs") or (
        told.has(word_set("laxative laxatives diuretic diuretics purging"))
        and told.says("lose weight", "to get thin", "to be thin", "weight fast")
    )
    spits = told.has(word_set("chew chewing")) and told.has(word_set("spit spitting"))
    return (
        (eats and secret)
        or weighed
        or thin
        or tricks
        or (throat and (slim or told.has(word_set("after meal dinner eating sick vomit"))))
        or (spits and told.has(word_set("calories slim weight food")))
    )
