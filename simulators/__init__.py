"""Venues on loopback: real wire protocols, real checks, money that is not real.

A simulator is written from the venue's documentation alone. It imports nothing of the rest of the
project, so a mistake there cannot hide behind the same mistake here.
"""
