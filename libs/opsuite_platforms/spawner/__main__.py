"""Entry of the guard, which forks the nursery: `python -S -s -P -m opsuite_platforms.spawner <fd of its socket>`."""

from opsuite_platforms.spawner.guard import main

main()
