export function schemasFolder(): string;
export function makeSchemas(): string | undefined;
