"""How shapes and types of all calls are checked while tests run: an int passes for a float, as in typing."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
