"""Limits of the machine that stop a program at N tasks: find them, print them, raise them."""
