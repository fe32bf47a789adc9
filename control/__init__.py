"""The supervisor and the command line: starts every process, holds them to one limit, stops them."""
