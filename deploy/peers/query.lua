-- Posts a query for a page of 20 posts, as an iPhone does.
wrk.method = "POST"
wrk.body = '{"query":"query Feed($limit: Int) { feed(limit: $limit) { posts { id caption imageUrl thumbnailUrl likeCount author { id avatarUrl } } cursor hasMore } }","variables":{"limit":20}}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["User-Agent"] = "FeedApp/7.1 (iPhone; iOS 19.1; Scale/3.00)"
