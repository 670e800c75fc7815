import type { EpochMs } from '../clock.ts';
import type { AssociationChange, AssociationInput } from './association-input.ts';
import type { Association, Associations } from './associations.ts';
import { AWSServiceError, modelled } from './aws-error.ts';
import type { Exchange } from './exchange.ts';
import { answerError, authenticate, type FrontDoor } from './front-door.ts';
import { isRecord } from './service-account-token.ts';

/** What the EKS API works with. */
export interface EKSOptions {
  door: FrontDoor;
  clusterName: string;
  clusterArn: string;
  /** The `iss` of tokens. */
  issuer: string;
  /** Said to be the endpoint of the API server. */
  url: string;
  /** The cluster's. */
  createdAt: EpochMs;
  associations: Associations;
}

const PAGE = 100;

/** The part of the EKS API (2017-11-01) about Pod Identity associations, and `DescribeCluster`. */
export class EKS {
  readonly #options: EKSOptions;

  constructor(options: EKSOptions) {
    this.#options = options;
  }

  /**
   * Serves `/clusters/{name}`, `/clusters/{name}/pod-identity-associations` and
   * `…/{associationId}`.
   *
   * @param segments - The path's, decoded, from the cluster's name on.
   */
  serve(exchange: Exchange, segments: readonly string[]): void {
    try {
      const [clusterName = '', , associationId = ''] = segments;
      const operation = operationOf(exchange.method, segments);
      exchange.audit.operation = operation ?? 'Unknown';
      exchange.audit.clusterName = clusterName.slice(0, 100);
      if (operation === undefined) {
        throw new AWSServiceError('UnknownOperationException', 404, 'Unknown operation.');
      }
      const caller = authenticate(exchange, 'eks', this.#options.door);
      if (caller.kind !== 'node') {
        throw new AWSServiceError(
          'AccessDeniedException',
          403,
          `User: ${caller.arn} is not authorized to perform: eks:${operation} on resource: ${this.#options.clusterArn}`,
        );
      }
      if (clusterName !== this.#options.clusterName) {
        throw modelled('ResourceNotFoundException', `No cluster found for name: ${clusterName}.`);
      }
      exchange.json(200, this.#perform(exchange, operation, associationId));
    } catch (error) {
      answerError(exchange, error);
    }
  }

  #perform(exchange: Exchange, operation: string, id: string): unknown {
    const { associations } = this.#options;
    switch (operation) {
      case 'DescribeCluster':
        return { cluster: this.#cluster() };
      case 'ListPodIdentityAssociations':
        return this.#list(exchange.parameters);
      case 'CreatePodIdentityAssociation': {
        const input = readBody(exchange) as unknown as AssociationInput;
        return noted(exchange, associations.create(input));
      }
      case 'UpdatePodIdentityAssociation': {
        const change = readBody(exchange) as AssociationChange;
        return noted(exchange, associations.update(id, change));
      }
      case 'DeletePodIdentityAssociation':
        return noted(exchange, associations.delete(id));
      default:
        return noted(exchange, associations.describe(id));
    }
  }

  #list(parameters: URLSearchParams) {
    const maxResults = Number(parameters.get('maxResults') ?? PAGE);
    if (!Number.isInteger(maxResults) || maxResults < 1 || maxResults > PAGE) {
      throw modelled('InvalidParameterException', `maxResults must be between 1 and ${PAGE}.`);
    }
    const after = readPageToken(parameters.get('nextToken'));
    const found = this.#options.associations
      .list({
        namespace: parameters.get('namespace') ?? undefined,
        serviceAccount: parameters.get('serviceAccount') ?? undefined,
      })
      .filter((association) => association.associationId > after);
    const page = found.slice(0, maxResults);
    const last = page.at(-1)?.associationId ?? '';
    return {
      associations: page.map(summary),
      nextToken: found.length > page.length ? Buffer.from(last).toString('base64url') : null,
    };
  }

  #cluster() {
    const { clusterArn, clusterName, createdAt, issuer, url } = this.#options;
    return {
      name: clusterName,
      arn: clusterArn,
      createdAt: createdAt / 1_000,
      version: '1.34',
      endpoint: url,
      status: 'ACTIVE',
      platformVersion: 'eks.1',
      identity: { oidc: { issuer } },
      kubernetesNetworkConfig: { serviceIpv4Cidr: '10.100.0.0/16', ipFamily: 'ipv4' },
      accessConfig: { authenticationMode: 'API' },
      tags: {},
    };
  }
}

function operationOf(method: string, segments: readonly string[]): string | undefined {
  const [, collection, associationId] = segments;
  if (segments.length === 1) return method === 'GET' ? 'DescribeCluster' : undefined;
  if (collection !== 'pod-identity-associations' || segments.length > 3) return undefined;
  const name = {
    POST: associationId === undefined ? 'Create' : 'Update',
    GET: associationId === undefined ? 'List' : 'Describe',
    DELETE: associationId === undefined ? undefined : 'Delete',
  }[method];
  if (name === undefined) return undefined;
  return `${name}PodIdentityAssociation${name === 'List' ? 's' : ''}`;
}

function noted(exchange: Exchange, association: Association) {
  const { associationId, namespace, serviceAccount } = association;
  Object.assign(exchange.audit, { associationId, namespace, serviceAccount });
  // Timestamps are seconds in REST-JSON.
  return {
    association: {
      ...association,
      createdAt: association.createdAt / 1_000,
      modifiedAt: association.modifiedAt / 1_000,
    },
  };
}

function summary(association: Association) {
  const { clusterName, namespace, serviceAccount, associationArn, associationId } = association;
  return { clusterName, namespace, serviceAccount, associationArn, associationId };
}

function readBody(exchange: Exchange): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(exchange.body.toString('utf8'));
    if (isRecord(body)) return body;
  } catch {
    // Said below.
  }
  throw new AWSServiceError('SerializationException', 400, 'The body is not a JSON object.');
}

function readPageToken(token: string | null): string {
  if (token === null) return '';
  const after = Buffer.from(token, 'base64url').toString('utf8');
  if (!/^a-[a-z0-9]{17}$/.test(after)) {
    throw modelled('InvalidParameterException', 'nextToken is not valid.');
  }
  return after;
}
