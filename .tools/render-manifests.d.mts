export function renderManifests(): Map<string, string>;
export function outdatedManifests(): string[];
