import { randomUUID } from 'node:crypto';
import type { DurationMs, EpochMs } from '../clock.ts';
import {
  type AssociationChange,
  type AssociationInput,
  checkAssociation,
  checkChange,
} from './association-input.ts';
import { modelled } from './aws-error.ts';
import { randomId } from './random.ts';
import type { Roles } from './roles.ts';

/** A Pod Identity association, as `DescribePodIdentityAssociation` answers it. */
export interface Association {
  clusterName: string;
  namespace: string;
  serviceAccount: string;
  roleArn: string;
  associationArn: string;
  associationId: string;
  tags: Record<string, string>;
  createdAt: EpochMs;
  modifiedAt: EpochMs;
  disableSessionTags: boolean;
  targetRoleArn?: string | undefined;
  externalId?: string | undefined;
  policy?: string | undefined;
}

/** Which cluster the associations are of. */
export interface AssociationsOptions {
  clusterName: string;
  account: string;
  region: string;
  partition: string;
  now: () => EpochMs;
  /** How long a change takes to reach EKS Auth; asked at every change. */
  delay: () => DurationMs;
  roles: Roles;
}

/** At most so many a cluster, says the EKS user guide. */
const ASSOCIATION_LIMIT = 5_000;

interface Publication {
  at: EpochMs;
  association: Association | undefined;
}

/**
 * The cluster's associations as the EKS API keeps them, and as EKS Auth sees them, which may
 * be later: they are eventually consistent.
 */
export class Associations {
  readonly #options: AssociationsOptions;
  readonly #byId = new Map<string, Association>();
  readonly #bySubject = new Map<string, Association>();
  readonly #requestTokens = new Map<string, string>();
  readonly #visible = new Map<string, Association>();
  readonly #pending = new Map<string, Publication[]>();

  constructor(options: AssociationsOptions) {
    this.#options = options;
  }

  /** How many there are. */
  get size(): number {
    return this.#byId.size;
  }

  /**
   * Creates an association, as `CreatePodIdentityAssociation` does.
   *
   * @throws AWSServiceError - `InvalidParameterException` (a field, or a role whose trust
   *   policy does not let EKS assume and tag), `ResourceInUseException`,
   *   `ResourceLimitExceededException`.
   */
  create(input: AssociationInput): Association {
    const { clusterName, account, region, partition, now } = this.#options;
    const checked = checkAssociation(input, account, this.#options.roles);
    const key = subjectKey(checked.namespace, checked.serviceAccount);
    const existing = this.#bySubject.get(key);
    if (existing !== undefined) {
      const requestToken = this.#requestTokens.get(existing.associationId);
      if (requestToken !== undefined && requestToken === input.clientRequestToken) return existing;
      throw modelled(
        'ResourceInUseException',
        `Association already exists: ${existing.associationId}`,
      );
    }
    if (this.size >= ASSOCIATION_LIMIT) {
      throw modelled(
        'ResourceLimitExceededException',
        `Pod identity association limit of ${ASSOCIATION_LIMIT} exceeded for cluster ${clusterName}`,
      );
    }
    const associationId = `a-${randomId(17)}`;
    const time = now();
    const association: Association = {
      clusterName,
      ...checked,
      associationArn: `arn:${partition}:eks:${region}:${account}:podidentityassociation/${clusterName}/${associationId}`,
      associationId,
      createdAt: time,
      modifiedAt: time,
      ...(checked.targetRoleArn !== undefined && { externalId: randomUUID() }),
    };
    if (input.clientRequestToken) {
      this.#requestTokens.set(associationId, input.clientRequestToken);
    }
    this.#byId.set(associationId, association);
    this.#bySubject.set(key, association);
    this.#publish(key, association);
    return association;
  }

  /** @throws AWSServiceError - `ResourceNotFoundException`. */
  describe(associationId: string): Association {
    const association = this.#byId.get(associationId);
    if (association === undefined) {
      throw modelled('ResourceNotFoundException', `Association not found: ${associationId}`);
    }
    return association;
  }

  /** All that match, in the order of their ids. */
  list(filter: { namespace?: string | undefined; serviceAccount?: string | undefined } = {}) {
    return [...this.#byId.values()]
      .filter(
        ({ namespace, serviceAccount }) =>
          (filter.namespace ?? namespace) === namespace &&
          (filter.serviceAccount ?? serviceAccount) === serviceAccount,
      )
      .sort((left, right) => (left.associationId < right.associationId ? -1 : 1));
  }

  /**
   * Changes an association; an empty `targetRoleArn` or `policy` removes it.
   *
   * @throws AWSServiceError - `ResourceNotFoundException`, `InvalidParameterException`.
   */
  update(associationId: string, change: AssociationChange): Association {
    const before = this.describe(associationId);
    const changed = checkChange(before, change, this.#options.account, this.#options.roles);
    const association: Association = { ...before, ...changed, modifiedAt: this.#options.now() };
    if (association.targetRoleArn === undefined) delete association.externalId;
    else association.externalId ??= randomUUID();
    const key = subjectKey(before.namespace, before.serviceAccount);
    this.#byId.set(associationId, association);
    this.#bySubject.set(key, association);
    this.#publish(key, association);
    return association;
  }

  /** @throws AWSServiceError - `ResourceNotFoundException`. */
  delete(associationId: string): Association {
    const association = this.describe(associationId);
    const key = subjectKey(association.namespace, association.serviceAccount);
    this.#byId.delete(associationId);
    this.#bySubject.delete(key);
    this.#requestTokens.delete(associationId);
    this.#publish(key, undefined);
    return association;
  }

  /** What EKS Auth knows of a service account's association now. */
  visible(namespace: string, serviceAccount: string): Association | undefined {
    const key = subjectKey(namespace, serviceAccount);
    const pending = this.#pending.get(key);
    if (pending !== undefined) {
      const now = this.#options.now();
      while (pending[0] !== undefined && pending[0].at <= now) {
        this.#show(key, (pending.shift() as Publication).association);
      }
      if (pending.length === 0) this.#pending.delete(key);
    }
    return this.#visible.get(key);
  }

  #publish(key: string, association: Association | undefined): void {
    const delay = this.#options.delay();
    const pending = this.#pending.get(key);
    if (delay === 0 && pending === undefined) {
      this.#show(key, association);
      return;
    }
    const publication = { at: this.#options.now() + delay, association };
    if (pending === undefined) this.#pending.set(key, [publication]);
    else pending.push(publication);
  }

  #show(key: string, association: Association | undefined): void {
    if (association === undefined) this.#visible.delete(key);
    else this.#visible.set(key, association);
  }
}

function subjectKey(namespace: string, serviceAccount: string): string {
  return `${namespace}/${serviceAccount}`;
}
