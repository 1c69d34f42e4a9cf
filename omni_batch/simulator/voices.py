"""Voices by model (voice lists of Dec 2025 and May 2026); case and spaces matter."""

from __future__ import annotations

TURBO = ("Cherry", "Serena", "Ethan", "Chelsie")
OMNI_2_5 = ("Ethan", "Chelsie")
FLASH_0915 = tuple(
    "Cherry Ethan Nofish Jennifer Ryan Katerina Elias Jada Dylan Sunny Li Marcus Roy Peter Rocky "
    "Kiki Eric".split()
)
FLASH_1201 = (
    *FLASH_0915,
    *"Serena Chelsie Momo Vivian Moon Maia Kai Bella Aiden Mia Mochi Bellona Vincent Bunny".split(),
    *"Neil Arthur Nini Ebona Seren Pip Stella Bodega Sonrisa Alek Dolce Sohee Lenn".split(),
    *("Emilien", "Andre", "Eldric Sage", "Ono Anna", "Radio Gol"),
)
OMNI_3_5 = (
    *"Tina Cindy Sunnybobi Raymond Ethan Serena Harvey Maia Evan Qiao Momo Wil Angel".split(),
    *"Mia Joyner Gold Katerina Ryan Jennifer Aiden Mione Sunny Dylan Eric Peter Marcus".split(),
    *"Li Kiki Rocky Sohee Lenn Sonrisa Bodega Emilien Andre Alek Rizky Roya Arda Hana".split(),
    *"Dolce Jakub Griet Eliška Marina Siiri Ingrid Sigga Bea Chloe".split(),
    *("Liora Mira", "Theo Calm", "Li Cassian", "Joseph Chen", "Ono Anna", "Radio Gol"),
)

DEEP = frozenset(
    "Ethan Nofish Ryan Elias Dylan Li Marcus Roy Peter Rocky Eric Kai Aiden Vincent Neil Arthur "
    "Alek Lenn Emilien Andre Bodega Dolce Raymond Harvey Evan Wil Gold Rizky Arda Jakub".split()
) | {"Eldric Sage", "Radio Gol", "Theo Calm", "Li Cassian", "Joseph Chen"}
"""Voices that are spoken low."""
