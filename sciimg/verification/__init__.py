"""The machinery against closed forms, on the machine that runs it."""
