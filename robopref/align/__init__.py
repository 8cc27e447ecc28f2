"""The loop: demonstrations, rollouts, queries, rewards, alignment, evaluation, report."""
