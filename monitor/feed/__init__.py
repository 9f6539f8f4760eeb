"""The live feed of events over Server-Sent Events."""
