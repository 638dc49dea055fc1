// A peer: PostGraphile 5 on the tables as they are, with its relay-free V5 names and the filters of its usual plugin. No keys, no limits.
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { jsonPgSmartTags } from "postgraphile/utils";
import { PostGraphileConnectionFilterPreset } from "postgraphile-plugin-connection-filter";

// The log has no foreign keys; PostGraphile is told where it belongs, so that it may find a lead's activities.
const activities = jsonPgSmartTags({
  version: 1,
  config: { class: { activity: { tags: { foreignKey: "(workspace_id, lead_id) references lead (workspace_id, id)" } } } },
});

const preset = {
  extends: [PostGraphileAmberPreset, PostGraphileConnectionFilterPreset],
  pgServices: [
    makePgService({
      connectionString: process.env.LEADGRAPH_DATABASE_URL.replace("+asyncpg", ""),
      schemas: ["public"],
      poolConfig: { max: 8 },
    }),
  ],
  plugins: [activities],
  grafserv: { graphqlPath: "/graphql", graphiql: false, websockets: false },
  grafast: { explain: false },
};

const server = createServer();
await postgraphile(preset).createServ(grafserv).addTo(server);
server.listen(Number(process.argv[2]), "127.0.0.1");
