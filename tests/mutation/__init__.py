"""Mutation testing of the rules about money, keys and endings: `make mutants`.

mutmut changes one expression of a rule at a time and runs the unit tests that reach it. A change that no test detects is a
survivor: a missing test, or an equivalent program, which `accepted.toml` lists with the reason. `mutmut.toml` names the rules
and their tests.
"""
