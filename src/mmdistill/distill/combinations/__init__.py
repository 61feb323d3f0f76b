"""How the logits of several teachers become one."""
