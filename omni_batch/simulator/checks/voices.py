"""Voices by model (voice lists of Dec 2025 and May 2026); case and spaces matter."""


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(","))


TURBO = ("Cherry", "Serena", "Ethan", "Chelsie")
FLASH_0915 = _names(
    "Cherry, Ethan, Nofish, Jennifer, Ryan, Katerina, Elias, Jada, Dylan, Sunny, Li, Marcus, Roy, "
    "Peter, Rocky, Kiki, Eric"
)
FLASH_1201 = FLASH_0915 + _names(
    "Serena, Chelsie, Momo, Vivian, Moon, Maia, Kai, Bella, Aiden, Eldric Sage, Mia, Mochi, "
    "Bellona, Vincent, Bunny, Neil, Arthur, Nini, Ebona, Seren, Pip, Stella, Bodega, Sonrisa, "
    "Alek, Dolce, Sohee, Ono Anna, Lenn, Emilien, Andre, Radio Gol"
)
OMNI_3_5 = _names(
    "Tina, Cindy, Liora Mira, Sunnybobi, Raymond, Ethan, Theo Calm, Serena, Harvey, Maia, Evan, "
    "Qiao, Momo, Wil, Angel, Li Cassian, Mia, Joyner, Gold, Katerina, Ryan, Jennifer, Aiden, "
    "Mione, Sunny, Dylan, Eric, Peter, Joseph Chen, Marcus, Li, Kiki, Rocky, Sohee, Lenn, "
    "Ono Anna, Sonrisa, Bodega, Emilien, Andre, Radio Gol, Alek, Rizky, Roya, Arda, Hana, Dolce, "
    "Jakub, Griet, Eliška, Marina, Siiri, Ingrid, Sigga, Bea, Chloe"
)

DEEP = frozenset(
    _names(
        "Ethan, Nofish, Ryan, Elias, Dylan, Li, Marcus, Roy, Peter, Rocky, Eric, Kai, Aiden, "
        "Vincent, Neil, Arthur, Alek, Lenn, Emilien, Andre, Bodega, Dolce, Raymond, Harvey, Evan, "
        "Wil, Gold, Rizky, Arda, Jakub, Eldric Sage, Radio Gol, Theo Calm, Li Cassian, Joseph Chen"
    )
)
"""Voices that are spoken low."""
