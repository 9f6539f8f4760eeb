"""Wheels, audit and release."""
