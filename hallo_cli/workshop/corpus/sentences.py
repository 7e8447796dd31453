"""Sentences for the speech synthesisers: everyday words and invented ones, so that every phone is met."""

from __future__ import annotations

import numpy as np

_TEXT = """
a about above after again air all almost along always amazing and animal another answer apple are around ask
at autumn away baby back ball bank be beautiful because bed been before began behind believe below best
better between big bird black blue boat body book both box boy bread bring brother brown build busy but buy
by call came can car carry change cheese child choose church city clear close cloud coffee cold colour come
could country cousin cup dark day deep did different dinner do dog door down draw dream drive early earth
east easy eat eight else enough even evening ever every eye face family far farm fast father favour feel few
field fifty film find fire first fish five flower follow food for forest forget found four free friend from
front full funny game garden gave get girl give go gold good goodbye great green grow had half hand happy
hard have he hear heart heavy hello help her here high hill him his hold home hope horse hot hour house how
hundred idea if in into is it join joy jump just keep kind king kitchen know language large last late laugh
learn leave left letter life light like listen little live long look loud love low lunch made make mama man
many map may maybe me measure meet member might milk mind minute money month moon more morning mother
mountain mouth move much music must my name near never new next nice night nine no noise north now number
ocean of off often oil old on once one only open or orange other our out over page paint papa paper park
part people perhaps picture place plan play please point poor power pretty probably problem pull purple push
put question quick quiet rain read ready real red remember rest rich right river road room round run said
same sand save saw say school sea second see seven shape she ship shoe shop short should show sing sister
sit six sky sleep slow small smile snow so some song soon sound south speak spring stand star start stay
still stone stop story strange street strong student such sugar summer sun sure swim table take talk tall
teach television tell ten than thank that the their them then there these they thing think this those
thought three through time to today together tomorrow too took top town travel tree true try turn two under
until up us use usual vegetable very village visit voice wait walk wall want warm was watch water way we
weather week well went were west wet what wheel when where which white who why wide wife will wind window
winter wish with woman wonder wood word work world would write wrong year yellow yes yesterday you young
your zero
"""
_WORDS = _TEXT.split()
_ONSET_TEXT = "b bl br ch d dr f fl fr g gl h j k kl l m n p pl pr r s sh sk sl sp st t th tr v w y z"
_ONSETS = _ONSET_TEXT.split()
_NUCLEUS_TEXT = "a ee i o oo u ai ay ow oy ar er or ea igh"
_NUCLEI = _NUCLEUS_TEXT.split()
_CODAS = [
    "",
    "",
    "",
    "b",
    "ck",
    "d",
    "f",
    "g",
    "l",
    "m",
    "mp",
    "n",
    "nd",
    "p",
    "s",
    "sh",
    "st",
    "t",
    "th",
    "v",
]


def sentence(rng: np.random.Generator, *, n_words: int) -> str:
    """A pseudo-sentence of `n_words` words."""
    words = [str(rng.choice(_WORDS)) if rng.random() < 0.8 else _invented(rng) for _ in range(n_words)]
    return " ".join(words)


def _invented(rng: np.random.Generator) -> str:
    n_syllables = int(rng.integers(1, 4))
    parts = [str(rng.choice(choices)) for _ in range(n_syllables) for choices in (_ONSETS, _NUCLEI, _CODAS)]
    return "".join(parts)
