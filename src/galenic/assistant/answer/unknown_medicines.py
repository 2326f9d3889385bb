"""Recognition of words that look like names of medicines but are not in the list of medicines.

Such words end with a stem that the World Health Organization assigns to a class of medicines ("The
use of stems in the selection of International Nonproprietary Names for pharmaceutical substances",
2018): -mab for antibodies, -tinib for kinase inhibitors, -vir for antivirals and so on.
"""

from __future__ import annotations

import re

from galenic.assistant.triage.words.wording import word_set
from galenic.record.medicines import named_in

__all__ = ["names_medicine", "unknown_medicines"]

_STEMS = (
    "mab|nib|ciclib|parib|vir|pril|prilat|bitril|sartan|olol|alol|statin|fibrate|gliptin|gliflozin|"
    "glutide|natide|parin|xaban|gatran|tidine|prazole|conazole|azole|caftor|lukast|triptan|dronate|"
    "dronic|cillin|mycin|micin|floxacin|cycline|azepam|azolam|barbital|prost|setron|vaptan|sirox|"
    "fenidone|luzole|bazepine|carbazepine|carbamide|apride|opride|cept|rafenib|imod|tecan|taxel|platin|"
    "rubicin|afil|osin|oxetine|lafaxine|zapine|tiapine|peridone|piprazole|quine|thiazide|"
    "semide|actone|renone|citabine|trexed|trexate|poetin|grastim|leukin|feron|stim|relin|relix|"
    "tadine|rizine|phylline|meterol|buterol|sone|solone|onide|steride|estradiol|gestrel|racetam|toin|"
    "gabatrin|gabalin|dopa|capone|giline|tigmine|grel|oxaban|ciguat|entan|bradine|cizumab|kinra|"
    "limus|fungin|bactam|penem|oxacin|tegravir|previr|buvir|asvir|vudine"
)
_STEM = re.compile(rf"[a-z]{{2,}}(?:{_STEMS})")
_NO_NAME = word_set(
    "souvenir elixir reprieve accept concept except intercept person reason season cortisone "
    "hormone isoniazid cholesterol interleukin somatostatin myostatin hydantoin"
)


def unknown_medicines(text: str) -> list[str]:
    """Return the words of a text that look like names of medicines but are not known ones.

    Example: "Is zorotinib safe?" gives ``["zorotinib"]``.
    """
    known = {word for said in named_in(text).values() for word in said.split()}
    words = dict.fromkeys(re.findall(r"[a-z]+", text.lower()))
    return [
        word
        for word in words
        if word not in known and word not in _NO_NAME and _STEM.fullmatch(word)
    ]


def names_medicine(text: str) -> bool:
    """Check whether a text names a medicine, known or unknown."""
    return bool(named_in(text) or unknown_medicines(text))
