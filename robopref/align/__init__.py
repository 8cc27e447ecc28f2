"""The loop: demonstrations, episodes, queries, rewards, alignment, evaluation, report."""
