package imageurl
