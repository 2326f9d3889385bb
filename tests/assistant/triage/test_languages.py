"""Other languages: told apart, answered with a notice, and emergencies in three of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from galenic.assistant.triage.raising.languages import _data, detect, findings, notice
from galenic.assistant.triage.triage import triage

CORPUS = Path(__file__).parents[3] / "tools" / "triage" / "corpus"
EMERGENCIES = {
    "es": (
        "Mi marido tiene una presión muy fuerte en el pecho y le baja por el brazo izquierdo",
        "Mi madre de 70 años de golpe no puede hablar y tiene la cara caída de un lado",
        "Le picó una avispa y se le están hinchando los labios y le cuesta respirar",
        "Mi hijo se ha tragado una pila pequeña del mando",
        "El niño está morado y no respira",
        "Mi abuelo se ha caído de la escalera, está inconsciente y le sale sangre por el oído",
        "Llevo una hora sangrando por la nariz y no para, tomo sintrom",
        "Estoy de 32 semanas y desde ayer no noto al bebé",
        "He tomado todas las pastillas que había en casa, ya no aguanto más",
        "No quiero seguir viviendo",
        "mi bebe de un mes tiene 38.4 de fiebre",
        "me ha dado el peor dolor de cabeza de mi vida, como una explosión",
        "Mi hija diabética está muy rara, sudando, no me contesta",
        "vomita sangre y está blanco como la pared",
        "Se ha quemado la cara con aceite hirviendo",
        "Mi padre está con fiebre de 40 y tiritando, dice cosas sin sentido",
        "El brasero echaba humo y ahora nos duele la cabeza y estamos mareados todos en casa",
        "tengo las piernas dormidas y no puedo hacer pis desde esta mañana, me duele la espalda",
        "El niño se cayó a la piscina y ahora tose mucho y está adormilado",
        "mi mujer está embarazada y sangra mucho",
        "se ha cortado el dedo con la sierra",
        "He dejado de ver por el ojo derecho de repente",
        "mi hijo tiene un dolor horrible en el testículo desde hace una hora",
        "le dio la corriente al tocar un cable y se quedó en el suelo",
        "Mi bebé está muy flojito, no quiere el pecho y duerme todo el rato",
        "el asma no se me quita ni con el inhalador, casi no puedo hablar",
    ),
    "fr": (
        "J'ai une barre dans la poitrine depuis une demi-heure, ça descend dans le bras gauche",
        "Ma grand-mère a le visage qui tombe d'un côté et elle n'arrive plus à parler",
        "Mon fils a mangé des cacahuètes, ses lèvres gonflent et il siffle en respirant",
        "Ma petite de 2 ans a bu de la javel",
        "Mon mari est tombé par terre et il ne répond plus",
        "mon bébé de 5 semaines a 38,6",
        "J'ai pris vingt doliprane ce soir",
        "Je n'ai plus envie de vivre",
        "il a du mal à reprendre son souffle et ses lèvres sont bleues",
        "Elle saigne énormément depuis l'accouchement, les serviettes sont trempées en dix minutes",
        "J'ai la pire migraine de ma vie, venue d'un seul coup",
        "Mon père vomit du sang depuis ce matin",
        "je suis enceinte de 7 mois, je vois des étoiles et j'ai très mal à la tête",
        "je ne sens plus mon bébé bouger depuis hier",
        "Notre détecteur de monoxyde sonne et on a tous mal au crâne",
        "Mon fils convulse depuis cinq minutes",
        "Il s'est renversé une casserole d'eau bouillante sur le ventre",
        "Fièvre à 40, nuque raide et des petites taches violettes sur les jambes",
        "mon copain s'est planté un couteau dans la cuisse et ça gicle",
        "ma mère diabétique est toute molle et transpire, elle dit n'importe quoi",
        "j'ai perdu la vue d'un œil tout à coup",
        "Mon bébé est tout mou et ne veut plus boire",
        "je suis sous chimio et j'ai 38,5 de fièvre",
        "mon ado a une douleur brutale au testicule",
        "il a été mordu par une vipère à la cheville",
        "il est tombé du toit et ne sent plus ses jambes",
    ),
    "de": (
        "Mein Mann hat einen starken Druck auf der Brust und ist ganz blass und kaltschweißig",
        "Meine Oma kann plötzlich nicht mehr richtig sprechen und ihr Arm hängt runter",
        "Nach dem Wespenstich ist seine Zunge dick und er röchelt",
        "Unsere Tochter hat eine Knopfzelle verschluckt",
        "Er liegt am Boden und reagiert nicht",
        "unser Baby ist 4 Wochen alt und hat 38,7",
        "Ich habe 25 Paracetamol genommen",
        "ich möchte nicht mehr leben, ich sitze auf der Brücke",
        "Sie ist ganz blau im Gesicht und schnappt nach Luft",
        "Nach der Geburt blutet sie so stark, dass alles voll ist",
        "Mein Vater hat Blut gespuckt und ist kreidebleich",
        "ich bin in der 34. Woche schwanger, mir flimmert es vor den Augen und der Kopf platzt",
        "Seit gestern spüre ich mein Kind im Bauch nicht mehr",
        "Der CO-Melder piept und uns ist allen übel",
        "Mein Sohn krampft seit fünf Minuten",
        "Das Kind hat sich mit kochendem Wasser den ganzen Bauch verbrüht",
        "hohes Fieber, Nacken ganz steif und lila Flecken an den Beinen",
        "er hat sich mit der Kreissäge zwei Finger abgesägt",
        "mein diabetischer Bruder ist ganz verwirrt und schweißnass",
        "auf dem rechten Auge sehe ich seit einer Stunde nichts mehr",
        "Das Baby ist ganz schlaff und will nicht trinken",
        "Ich bekomme Chemo und habe jetzt 38,6 Fieber",
        "mein Junge hat plötzlich wahnsinnige Schmerzen im Hoden",
        "er wurde von einer Schlange gebissen",
        "mein Kumpel ist vom Dach gefallen und spürt seine Beine nicht mehr",
    ),
}
HARMLESS = (
    "no tengo dolor de pecho",
    "¿Qué es un infarto?",
    "tuve un infarto hace 5 años",
    "¿Cuánto dura un resfriado normal?",
    "je n'ai pas mal à la poitrine",
    "Combien de temps dure une grippe ?",
    "J'ai le nez qui coule et un peu mal à la gorge",
    "Ich habe keine Schmerzen in der Brust",
    "Was hilft gegen Schnupfen?",
    "Me duele un poco la garganta desde ayer",
    "Tengo tos y mocos, ¿qué puedo tomar?",
    "Me pica una picadura de mosquito",
    "¿Cuánta agua hay que beber al día?",
    "Mi hijo tiene mocos y come bien",
    "Tengo agujetas después de correr",
    "Me duele la espalda de estar sentado",
    "Llevo tres días estreñido",
    "J'ai un rhume depuis trois jours",
    "J'ai des courbatures après le sport",
    "Mon fils a le nez bouché mais il joue",
    "J'ai un peu mal au dos quand je jardine",
    "Une piqûre de moustique qui gratte",
    "Je dors mal en ce moment",
    "Mon genou me fait mal depuis un mois",
    "Ich habe Husten und Schnupfen",
    "Muskelkater nach dem Sport, was hilft?",
    "Mein Sohn hat Schnupfen, spielt aber ganz normal",
    "Welche Impfung brauche ich für Thailand?",
    "Mein Rücken tut vom Sitzen etwas weh",
    "Ein Mückenstich juckt",
    "Ich schlafe schlecht",
    "Mein Kind hat leichtes Fieber, 37,9, und trinkt gut",
    "Meine Tochter hat sich das Knie aufgeschürft, blutet kaum",
    "Mein Knie tut seit drei Wochen beim Treppensteigen etwas weh",
)
TEXTS = {
    "es": "tengo un dolor fuerte en el pecho",
    "fr": "j'ai très mal à la tête depuis hier",
    "de": "Mir tut der Kopf weh",
    "pt": "estou com dor no peito",
    "it": "ho un forte dolore al petto",
    "zh": "我胸口很痛",
    "ar": "عندي ألم شديد في الصدر",
    "hi": "मेरे सीने में दर्द है",
    "ru": "у меня сильно болит грудь",
    "tr": "göğsüm çok ağrıyor",
    "pl": "bardzo boli mnie klatka piersiowa",
    "uk": "мене болить у грудях, допоможіть",
    "nl": "ik heb pijn op de borst",
    "ja": "胸がとても痛いです",
    "ko": "가슴이 너무 아파요",
}
ENGLISH = (
    "", "help", "AF w RVR 170s, SOB", "cant breath propaly", "die pain", "no", "Na 108 GCS 11",
    "I have déjà vu and a café au lait spot", "chest pain", "ouch!!!", "38.3", "🤕",
    "my mother in law speaks Spanish and says me duele",
)  # fmt: skip


@pytest.mark.parametrize("language", EMERGENCIES)
def test_emergencies_are_recognised(language: str) -> None:
    for text in EMERGENCIES[language]:
        assert detect(text) == language, text
        assert {f.tier for f in findings(text)} == {"emergency"}, text
        assert {f.layer for f in findings(text)} == {"languages"}


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_denied_past_and_asked(text: str) -> None:
    assert findings(text) == ()


def test_denial_reaches_to_the_next_comma_and_no_further() -> None:
    assert findings("no tengo fiebre, me duele mucho el pecho")
    assert findings("no se me quita el dolor de pecho")
    assert not findings("Ich habe weder Fieber noch Schmerzen in der Brust")


def test_many_grave_things_together_are_an_emergency() -> None:
    text = "Seit heute frueh Bauchweh, Erbrechen und jetzt ist er blass und ganz wackelig"
    assert "language-several" in {f.id for f in findings(text)}
    assert not findings("Bauchweh seit heute")


def test_wishes_to_die_name_a_crisis_line() -> None:
    for text, number in (
        ("no quiero seguir viviendo", "024"),
        ("je n'ai plus envie de vivre", "3114"),
        ("ich will nicht mehr leben", "0800 111 0 111"),
    ):
        assert any(number in f.do for f in findings(text) if f.id == "language-suicide")


@pytest.mark.parametrize("language", TEXTS)
def test_the_notice_is_in_the_language(language: str) -> None:
    assert detect(TEXTS[language]) == language
    assert notice(TEXTS[language]) == _data().notices[language]


@pytest.mark.parametrize("language", TEXTS)
def test_triage_gives_the_notice_first(language: str) -> None:
    assert triage(TEXTS[language]).notes[0] == _data().notices[language]
    assert _data().notices[language] not in triage("my knee hurts").notes


def test_every_notice_has_a_number() -> None:
    assert all(any(c.isdigit() for c in told) for told in _data().notices.values())


@pytest.mark.parametrize("text", ENGLISH)
def test_short_clipped_and_misspelt_english_is_english(text: str) -> None:
    assert notice(text) is None


def test_no_english_text_of_the_corpus_is_foreign() -> None:
    texts = [path.read_text("utf-8") for path in CORPUS.glob("train_*.jsonl")]
    rows = [json.loads(line) for text in texts for line in text.splitlines()]
    assert len(rows) > 3800
    assert [row["id"] for row in rows if detect(row["text"])] == []


def test_every_concept_is_known_in_every_language_and_used() -> None:
    used = {concept for rule in _data().rules.values() for group in rule for concept in group}
    for language in _data().languages.values():
        assert set(language.concepts) == used
    assert len(_data().rules) >= 30


@pytest.mark.parametrize("text", ["\ud800", "\u202e\u200f", "¿?", "ñ", "," * 5000, "é" * 5000])
def test_odd_text(text: str) -> None:
    assert findings(text) == ()
    assert notice(text) in {None, *_data().notices.values(), _data().other_notice}


def test_the_end_of_a_long_text_is_read() -> None:
    assert findings("Hace buen tiempo. " * 20_000 + "Mi padre no respira.")
