// Which node owns what.
import { NodeState, type ClusterShard, type GetClusterResponse } from "@gen/admin/v1/admin_pb.js";
import { admin } from "./api";
import { bytes, counted, grouped, passed } from "./format";
import { Empty, Facts, Loaded, Section, Table, Tag, Time } from "./parts";
import { useSource } from "./source";
import * as words from "./words";

export function ClusterPage() {
  const source = useSource("cluster shards", 2000, (options) => admin.getCluster({ shards: true }, options));
  return (
    <>
      <h1>Cluster</h1>
      <Section title="Nodes" of={source}>
        <Loaded of={source}>{(cluster) => <Nodes cluster={cluster} />}</Loaded>
      </Section>
      {(source.data.value?.shards.length ?? 0) > 0 && (
        <Section title="Shards" of={source}>
          <Loaded of={source}>{(cluster) => <Map cluster={cluster} />}</Loaded>
        </Section>
      )}
      <Answering />
    </>
  );
}

function Nodes({ cluster }: { cluster: GetClusterResponse }) {
  const { cells, nodes } = cluster;
  if (cells.length === 0) {
    return (
      <Empty command="tollgate cluster">
        <span class="mono">{cluster.node}</span> is a single node and serves every org. Nodes that share a PostgreSQL are shown here, with the shards that each owns.
      </Empty>
    );
  }
  return (
    <>
      {cluster.drift.map((drift) => <p key={drift} class="trouble">{drift}</p>)}
      {cluster.fault && <p class="trouble">{cluster.fault}</p>}
      <Facts
        lines
        rows={[
          ["shards", `${grouped(cluster.shardsOwned)} of ${grouped(cluster.shardsTotal)} have an owner${cluster.shardsFree ? `, ${grouped(cluster.shardsFree)} have none` : ""}`],
          ["seen by", <span class="mono">{cluster.node}</span>],
          ["since its start", `${grouped(cluster.shardsClaimed)} claimed, ${grouped(cluster.shardsHandedOver)} handed over, ${grouped(cluster.shardsLost)} lost with ${counted(cluster.leasesLost, "lease")}`],
        ]}
      />
      <Table
        label="Nodes"
        columns={[{ name: "Node" }, { name: "State" }, { name: "Shards", class: "right" }, { name: "Weight", class: "right" }, { name: "Lease", class: "right" }, { name: "Version" }, { name: "Configuration" }, { name: "Callers" }]}
      >
        {nodes.map((node) => (
          <tr key={node.name}>
            <th scope="row"><Swatch name={node.name} nodes={nodes.map((each) => each.name)} /> <span class="mono">{node.name}</span></th>
            <td data-name="State">
              <Tag tone={node.state === NodeState.ALIVE ? "green" : node.state === NodeState.DEAD ? "red" : "amber"}>{words.node(node.state)}</Tag>
              {node.cells.length > 0 && node.cells.length < cells.length && ` in ${node.cells.length} of ${cells.length} cells`}
            </td>
            <td data-name="Shards" class="right number">{grouped(node.shards)}</td>
            <td data-name="Weight" class="right number">{grouped(node.weight)}</td>
            <td data-name="Lease" class="right number">{node.leaseMs > 0n ? `${grouped(node.leaseMs)} ms` : "over"}</td>
            <td data-name="Version" class="mono">{node.version}</td>
            <td data-name="Configuration" class="mono">{node.config}</td>
            <td data-name="Callers" class="mono">{node.grpc}</td>
          </tr>
        ))}
      </Table>
      {cells.length > 1 && (
        <Table label="Cells" columns={[{ name: "Cell" }, { name: "Shards" }, { name: "Database" }]}>
          {cells.map((cell) => (
            <tr key={cell.number}>
              <th scope="row" class="number">cell {cell.number}</th>
              <td data-name="Shards">{grouped(cell.shardsOwned)} of {grouped(cell.shardsTotal)} have an owner</td>
              <td data-name="Database">{cell.fault ? <span class="red">does not answer, seen {passed(Number(cell.seenMsAgo))} ago: {cell.fault}</span> : "answers"}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

const SIDE = 32;

function Swatch({ name, nodes }: { name: string; nodes: string[] }) {
  return <svg class={`swatch owner-${nodes.indexOf(name) % 8}`} width="10" height="10" aria-hidden="true"><rect width="10" height="10" /></svg>;
}

/** 32 × 32, from the left and from above. */
function Map({ cluster }: { cluster: GetClusterResponse }) {
  const names = cluster.nodes.map((node) => node.name);
  const free = cluster.shards.filter((shard) => !shard.owner);
  const title = (shard: ClusterShard) => `shard ${shard.number}, cell ${shard.cell}: ${shard.owner || "nobody"}, epoch ${shard.epoch}`;
  const counted = cluster.nodes.map((node) => `${node.name} ${cluster.shards.filter((shard) => shard.owner === node.name).length}`).join(", ");
  return (
    <div class="shards">
      <svg class="map" viewBox={`0 0 ${SIDE * 10} ${Math.ceil(cluster.shards.length / SIDE) * 10}`} role="img" aria-label={`Shards by owner: ${counted}${free.length ? `, nobody ${free.length}` : ""}`}>
        {cluster.shards.map((shard) => (
          <rect
            key={shard.number}
            class={shard.owner ? `owner-${names.indexOf(shard.owner) % 8}` : "owner-none"}
            x={(shard.number % SIDE) * 10}
            y={Math.floor(shard.number / SIDE) * 10}
            width="9"
            height="9"
          >
            <title>{title(shard)}</title>
          </rect>
        ))}
      </svg>
      <ul class="owners">
        {names.map((name) => (
          <li key={name}>
            <Swatch name={name} nodes={names} /> <span class="mono">{name}</span>{" "}
            <span class="number">{grouped(cluster.shards.filter((shard) => shard.owner === name).length)}</span>
          </li>
        ))}
        {free.length > 0 && (
          <li class="red">
            <svg class="swatch owner-none" width="10" height="10" aria-hidden="true"><rect width="10" height="10" /></svg> nobody <span class="number">{grouped(free.length)}</span>
            <p class="note">{free.slice(0, 20).map((shard) => shard.number).join(", ")}{free.length > 20 && " …"}</p>
          </li>
        )}
      </ul>
    </div>
  );
}

function Answering() {
  const source = useSource("answering", 2000, (options) => admin.getNode({}, options));
  return (
    <Section title="The node that answers" of={source}>
      <Loaded of={source}>
        {(node) => (
          <>
            <Facts
              rows={[
                ["node", <span class="mono">{node.node}</span>],
                ["version", <span class="mono">{node.version}</span>],
                ["health", <span class={node.health === "serving" ? "" : "red"}>{node.health}</span>],
                ["store", node.store],
                ["started", <Time at={node.startedAtMs} />],
                ["clock", <span class={node.clock === "steady" ? "" : "red"}>{node.clock}</span>],
                ["resident orgs", <span class="number">{grouped(node.residentOrgs)}</span>],
                ["in flight", <span class="number">{grouped(node.inFlight)}</span>],
                ["commit groups", <span class="number">{grouped(node.commitGroup)}</span>],
                ["configuration", `reloaded ${counted(node.configGeneration, "time")}`],
                node.diskSizeBytes > 0n && ["disk", `${bytes(node.diskFreeBytes)} of ${bytes(node.diskSizeBytes)} free`],
                node.needsRestart.length > 0 && ["waits for a restart", <span class="amber">{node.needsRestart.join(", ")}</span>],
                node.reloadMistakes.length > 0 && ["last reload", <span class="red">refused: {node.reloadMistakes.join("; ")}</span>],
                node.webhook && ["webhook", node.webhook.trouble ? <span class="red">{counted(node.webhook.failures, "attempt")} failed: {node.webhook.trouble}</span> : "delivers"],
              ]}
            />
            <details class="bounds">
              <summary>Bounds in force ({Object.keys(node.bounds).length})</summary>
              <Table label="Bounds in force" columns={[{ name: "Bound" }, { name: "Value", class: "right" }]}>
                {Object.entries(node.bounds).sort().map(([name, value]) => (
                  <tr key={name}>
                    <th scope="row" class="mono">{name}</th>
                    <td data-name="Value" class="right number">{grouped(value)}</td>
                  </tr>
                ))}
              </Table>
            </details>
          </>
        )}
      </Loaded>
    </Section>
  );
}
