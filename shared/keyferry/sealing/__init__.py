"""How provider keys travel: sealed to the vault on their way in, to one worker process on their way out."""
