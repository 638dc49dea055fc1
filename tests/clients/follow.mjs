// Follows the log with one of other people's clients: node follow.mjs CLIENT URL KEY AFTER COUNT.
// Prints the answer of a query, then each result of the subscription, as a line of JSON; ends after COUNT of them.
import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient as createStreams } from "graphql-sse";
import { createClient as createSockets } from "graphql-ws";
import WebSocket from "ws";

const [name, url, key, after, count] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const QUERY = "query Role { viewer { role } }";
const WATCH = "subscription Watch($after: String) { activityAdded(after: $after) { cursor node { id kind leadId } } }";

const sockets = () =>
  createSockets({ url: `${url.replace("http", "ws")}/graphql`, webSocketImpl: WebSocket, connectionParams: headers, retryAttempts: 0 });
const streams = () => createStreams({ url: `${url}/graphql`, headers, retryAttempts: 0 });
const once = (client) => new Promise((resolve, reject) => client.subscribe({ query: QUERY }, { next: resolve, error: reject, complete() {} }));
const watch = (client, sink) => client.subscribe({ query: WATCH, variables: { after } }, sink);

function urql(exchanges, options = {}) {
  const client = new Client({ url: `${url}/graphql`, fetchOptions: { headers }, preferGetMethod: false, exchanges, ...options });
  return {
    query: () => client.query(QUERY, {}).toPromise(),
    watch: (sink) => client.subscription(WATCH, { after }).subscribe((result) => (result.error ? sink.error(result.error) : sink.next(result))),
  };
}

const clients = {
  "graphql-ws": () => {
    const client = sockets();
    return { query: () => once(client), watch: (sink) => watch(client, sink) };
  },
  "graphql-sse": () => {
    const client = streams();
    return { query: () => once(client), watch: (sink) => watch(client, sink) };
  },
  apollo: () => {
    const cache = new InMemoryCache();
    const asking = new ApolloClient({ link: new HttpLink({ uri: `${url}/graphql`, headers }), cache });
    const following = new ApolloClient({ link: new GraphQLWsLink(sockets()), cache });
    return {
      query: () => asking.query({ query: gql(QUERY) }),
      watch: (sink) => following.subscribe({ query: gql(WATCH), variables: { after }, fetchPolicy: "no-cache" }).subscribe(sink),
    };
  },
  "urql over sockets": () => {
    const client = sockets();
    const forwardSubscription = (request) => ({
      subscribe: (sink) => ({ unsubscribe: client.subscribe({ ...request, query: request.query || "" }, sink) }),
    });
    return urql([fetchExchange, subscriptionExchange({ forwardSubscription })]);
  },
  "urql over fetch": () => urql([fetchExchange], { fetchSubscriptions: true }),
};

const print = (result) => process.stdout.write(`${JSON.stringify(result.data)}\n`);
const fail = (error) => {
  process.stderr.write(`${error?.stack ?? JSON.stringify(error)}\n`);
  process.exit(1);
};

try {
  const client = clients[name]();
  print(await client.query());
  let seen = 0;
  client.watch({
    next(result) {
      print(result);
      seen += 1;
      if (seen === Number(count)) process.stdout.write("", () => process.exit(0));
    },
    error: fail,
    complete: () => fail(new Error("it completed")),
  });
} catch (error) {
  fail(error);
}
