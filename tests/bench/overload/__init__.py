"""What others have of a system in which one provider hangs, one tenant floods, or everybody wants too much."""

HANG = "one of four providers hangs: the others' p99"
FLOOD = "one tenant floods: another tenant's p99"
GOODPUT = "three times the capacity offered: goodput"
REFUSAL = "three times the capacity offered: refusals' p99"
RECOVERY = "after it: until 99 % of a second's requests are answered"
FAILING = "a provider answers 503 to everything: calls for a request"
