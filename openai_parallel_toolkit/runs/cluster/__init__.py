"""Run hooks in other processes: the head lends them files, and sends what they ask."""
