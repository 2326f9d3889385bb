"""Kinds of words that the guards look for, and where they stand in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from galenic.assistant.triage.wording import word_set

__all__ = [
    "ASKING_FIRST", "CARE", "FOOD", "GENERAL", "MEDICINE", "NOT", "NUMBER_WORDS", "TAKE", "Told",
    "number",
]  # fmt: skip

MEDICINE = word_set("""
medicine medicines medication medications meds med pill pills tablet tablets tab tabs drug drugs
capsule capsules caplet caplets insulin steroid steroids antidepressant antidepressants statin
statins antibiotic antibiotics inhaler inhalers puffer painkiller painkillers thinner thinners
cream creams ointment ointments patch patches lotion linctus syrup lozenge lozenges gel
antihistamine antihistamines sedative sedatives laxative laxatives supplement supplements vitamin
vitamins contraceptive contraceptives chemo chemotherapy dialysis radiotherapy methadone
prescription prescriptions script opioid opioids diuretic diuretics blocker blockers
anticoagulant anticoagulants antipsychotic antipsychotics melatonin cbd remedy remedies linctus
injection injections pessary pessaries suppository suppositories sachet sachets drip medicament
medicamento medicamentos tablette tabletten pastilla pastillas comprime comprimes nsaid nsaids
compressa compresse tabletas kapseln kapsel gelules capsulas gotas gouttes tropfen gocce pillole
pillen pilulas medikament medikamente traitement antiviral antivirals infusion infusions
transplant antifungal antifungals eyedrops
antacid antacids decongestant decongestants anticonvulsant anticonvulsants hrt nebuliser
""")
TAKE = word_set("""
take takes taking taken took give gives giving given swallow swallowing chew crush inject
injecting apply applying use uses using start starting begin put rub spray sip pop repeat
repeated dissolve administer receive try have drink dose top inhale insert go put add adding
tome toma nehmen prenez prendi prenda nimm neem tomar prendre
""")
FOOD = word_set("""
salt sugar sugars fibre fiber fat fats alcohol sodium caffeine protein calories carbohydrate
carbohydrates carbs fruit vegetables vegetable water milk fluid fluids juice food foods lentils
oats nuts cheese meat fish pasta rice bread coffee tea wine beer formula breast honey butter
liquid liquids oil porridge yoghurt yogurt meal meals portion portions broth soup sunscreen
vinegar bicarbonate exercise activity steps sunlight
""")
CARE = word_set("""
doctor doctors gp gps hospital hospitals ae er ambulance emergency paramedic paramedics nurse
clinic attention checked check checkup appointment specialist specialists scan scans
opinion examination examined medical midwife pharmacist followup casualty helpline hotline 111
999 911 112 dentist professional
""")
NOT = word_set("""
not no never none neither nor nothing nobody cannot cant dont doesnt didnt isnt arent wasnt wont
wouldnt couldnt shouldnt neednt mustnt hardly without unnecessary pointless needless zero noone
""")
NUMBER_WORDS = word_set("""
half quarter third couple pair few several dozen double twice triple hundred thousand another
extra due deux dos zwei drei tre trois tres twee eine un una ein
""")
GENERAL = word_set("""
people women men babies older younger children some most many doctors adults breastfed pregnant
antidepressants antibiotics
""")
"""First words of what is said of people in general."""
ASKING_FIRST = word_set("""
ask asks asking talk speak talking speaking check tell consult advice advise advised advises
pharmacist prescriber contact discuss label leaflet explain
""")


def number(token: str) -> bool:
    """Whether a token is a number, in digits or as a word."""
    return token[0].isdecimal() or token in NUMBER_WORDS


@dataclass(frozen=True)
class Told:
    """The tokens of a sentence.

    Attributes:
        tokens: as `galenic.assistant.triage.wording` gives them.
    """

    tokens: tuple[str, ...]

    def at(self, words: frozenset[str]) -> list[int]:
        """The places of these words."""
        return [at for at, token in enumerate(self.tokens) if token in words]

    def has(self, words: frozenset[str]) -> bool:
        """Whether any of them is said."""
        return any(token in words for token in self.tokens)

    def numbers(self) -> Iterator[int]:
        """The places of numbers."""
        return (at for at, token in enumerate(self.tokens) if number(token))

    def before(self, at: int, words: frozenset[str], gap: int) -> bool:
        """Whether one of these words stands among the ``gap`` tokens before a place."""
        return any(token in words for token in self.tokens[max(0, at - gap) : at])

    def after(self, at: int, words: frozenset[str], gap: int) -> bool:
        """Whether one of these words stands among the ``gap`` tokens behind a place."""
        return any(token in words for token in self.tokens[at + 1 : at + 1 + gap])

    def near(self, some: frozenset[str], others: frozenset[str], gap: int) -> bool:
        """Whether two of these words stand at most ``gap`` tokens apart, in any order."""
        return any(
            self.after(at, others, gap) or self.before(at, others, gap) for at in self.at(some)
        )

    def follow(self, some: frozenset[str], others: frozenset[str], gap: int) -> bool:
        """Whether one of the second stands at most ``gap`` tokens behind one of the first."""
        return any(self.after(at, others, gap) for at in self.at(some))

    def says(self, *phrases: str) -> bool:
        """Whether one of these phrases is said, word by word."""
        text = f" {' '.join(self.tokens)} "
        return any(f" {one} " in text for one in phrases)

    def starts(self, words: Sequence[str] | frozenset[str]) -> bool:
        """Whether it begins with one of these words."""
        return bool(self.tokens) and self.tokens[0] in words
