"""Entry of the nursery process: `python -S -s -P -m opsuite_platforms.spawner <fd of its socket>`."""

from opsuite_platforms.spawner.nursery import main

main()
