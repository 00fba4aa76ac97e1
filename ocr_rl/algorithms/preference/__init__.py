"""Learning from preferences: DPO, IPO, ORPO and KTO."""
